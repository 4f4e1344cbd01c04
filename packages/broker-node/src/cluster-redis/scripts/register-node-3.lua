-- Claims a node id for a process, unless another process beats for it.
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token  3 info  4 lease, ms
-- Returns {1, now} claimed | {0, last beat of the owner}
-- @include now
local owner = redis.call('HGET', KEYS[2], ARGV[1])
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if owner and beat and owner ~= ARGV[2] and now - beat < tonumber(ARGV[4]) then return {0, beat} end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return {1, now}
