-- Renews a lease and tells who else is there; refuses a process that has lost its id.
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token  3 info
-- Returns {1, now, {id, beat, ...}, {id, info, ...}} | {0}
-- @include now
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return {1, now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3])}
