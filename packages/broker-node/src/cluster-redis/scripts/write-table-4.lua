-- Writes a batch of changes under a new version; the same batch sent twice is written once.
-- KEYS  1 table hash  2 meta hash  3 log stream  4 nodes zset
-- ARGV  1 epoch to begin with  2 node id  3 process token  4 batch number  5 length of the log
--       then pairs of field and value; an empty value deletes
-- Returns {epoch, version, {ids of the nodes that have to learn of it}}
-- @include table-batch
if written then return {epoch, written, nodes} end
local version = redis.call('HINCRBY', KEYS[2], 'version', 1)
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[2], mine, ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. version)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], version .. '-0',
  'node', ARGV[2], 'process', ARGV[3], 'batch', ARGV[4], unpack(ARGV, 6))
return {epoch, version, nodes}
