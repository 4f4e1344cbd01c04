-- A node leaves of its own will.
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 process token
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
