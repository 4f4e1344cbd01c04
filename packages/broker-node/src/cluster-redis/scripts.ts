import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'

/** A Lua script and the digest Redis knows it by. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Runs a script by its digest; a Redis that does not know it yet (fresh, failed over) is given the text once. */
export async function runScript(
  redis: Redis,
  { lua, sha }: Script,
  keys: string[],
  args: (string | number)[],
): Promise<unknown> {
  try {
    return await redis.call('EVALSHA', sha, keys.length, ...keys, ...args)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return await redis.call('EVAL', lua, keys.length, ...keys, ...args)
  }
}

const NOW_MS = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

/** Claims a node id for a process, unless another process beats for it. */
export const REGISTER_NODE: Script = script(`
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token  3 info  4 lease, ms
-- Returns {1, now} claimed | {0, last beat of the owner}
${NOW_MS}
local owner = redis.call('HGET', KEYS[2], ARGV[1])
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if owner and beat and owner ~= ARGV[2] and now - beat < tonumber(ARGV[4]) then return {0, beat} end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return {1, now}`)

/** Renews a lease and tells who else is there; refuses a process that has lost its id. */
export const BEAT: Script = script(`
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token  3 info
-- Returns {1, now, {id, beat, ...}, {id, info, ...}} | {0}
${NOW_MS}
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return {1, now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3])}`)

/** Declares a node dead; exactly one caller wins. */
export const REAP_NODE: Script = script(`
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 silence after which a node is dead, ms
-- Returns 1 won | 0 alive after all, or already reaped
${NOW_MS}
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not beat or now - beat < tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1`)

/** A node leaves of its own will. */
export const LEAVE: Script = script(`
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1`)

/** Writes a batch of changes under a new version; the same batch sent twice is written once. */
export const TABLE_WRITE: Script = script(`
-- KEYS  1 table hash  2 meta hash  3 log stream  4 nodes zset
-- ARGV  1 epoch to begin with  2 node id  3 process token  4 batch number  5 length of the log
--       then pairs of field and value; an empty value deletes
-- Returns {epoch, version, {ids of the nodes that have to learn of it}}
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
  redis.call('DEL', KEYS[3])
end
local nodes = redis.call('ZRANGE', KEYS[4], 0, -1)
local mine = 'batch:' .. ARGV[2]
local last = redis.call('HGET', KEYS[2], mine)
if last then
  local process, batch, version = string.match(last, '^(%S+) (%d+) (%d+)$')
  if process == ARGV[3] and tonumber(batch) >= tonumber(ARGV[4]) then return {epoch, tonumber(version), nodes} end
end
local version = redis.call('HINCRBY', KEYS[2], 'version', 1)
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[2], mine, ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. version)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], version .. '-0',
  'node', ARGV[2], 'process', ARGV[3], 'batch', ARGV[4], unpack(ARGV, 6))
return {epoch, version, nodes}`)

/** Where a table stands, and what came after a version. */
export const TABLE_READ: Script = script(`
-- KEYS  1 meta hash  2 log stream
-- ARGV  1 epoch to begin with  2 first version wanted  3 entries at most
-- Returns {epoch, version, {{id, {name, value, ...}}, ...}}
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[1], 'epoch', epoch)
  redis.call('DEL', KEYS[2])
end
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if tonumber(ARGV[3]) == 0 then return {epoch, version, {}} end
return {epoch, version, redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])}`)
