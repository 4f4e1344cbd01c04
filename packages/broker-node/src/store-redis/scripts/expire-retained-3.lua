-- Removes a retained message that has expired.
-- KEYS  1 values  2 index  3 due; all {p<J>} of the first topic level
-- ARGV  1 member of due  2 topic name  3 now ms
-- Returns 1 removed | 0 it is not expired any more
local expiry = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not expiry or tonumber(expiry) > tonumber(ARGV[3]) then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
