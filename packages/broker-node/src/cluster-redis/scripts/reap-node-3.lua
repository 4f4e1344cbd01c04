-- Declares a node dead; exactly one caller wins.
-- KEYS  1 nodes zset  2 owners hash  3 info hash
-- ARGV  1 node id  2 silence after which a node is dead, ms
-- Returns 1 won | 0 alive after all, or already reaped
-- @include now
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not beat or now - beat < tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
