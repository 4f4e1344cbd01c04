-- Writes changes of records under a new version if all that is expected holds, or none of them; the same batch sent
-- twice is written once.
-- KEYS  1 table hash  2 meta hash  3 log stream  4 nodes zset
-- ARGV  1 epoch to begin with  2 node id  3 process token  4 batch number  5 length of the log
--       then fours of field, value (empty deletes), '' expects nothing in particular | 'n' no row | 'v' the value that
--       follows, and that value
-- Returns {1, epoch, version, {ids of the nodes that have to learn of it}} | {0, field that is not as expected}
-- @include table-batch
if written then
  -- Written again, so that a WAIT that follows on this connection waits for something.
  redis.call('HSET', KEYS[2], mine, last)
  return {1, epoch, written, nodes}
end
for i = 6, #ARGV, 4 do
  if ARGV[i + 2] ~= '' then
    local row = redis.call('HGET', KEYS[1], ARGV[i])
    local holds = ARGV[i + 2] == 'n' and not row or ARGV[i + 2] == 'v' and row == ARGV[i + 3]
    if not holds then return {0, ARGV[i]} end
  end
end
local version = redis.call('HINCRBY', KEYS[2], 'version', 1)
local logged = {}
for i = 6, #ARGV, 4 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  logged[#logged + 1] = ARGV[i]
  logged[#logged + 1] = ARGV[i + 1]
end
redis.call('HSET', KEYS[2], mine, ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. version)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], version .. '-0',
  'node', ARGV[2], 'process', ARGV[3], 'batch', ARGV[4], unpack(logged))
return {1, epoch, version, nodes}
