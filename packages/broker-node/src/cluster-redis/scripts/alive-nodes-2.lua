-- Tells which processes hold a lease.
-- KEYS  1 nodes zset  2 owners hash
-- ARGV  1 lease, ms
-- Returns their tokens
-- @include now
local tokens = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - tonumber(ARGV[1]), '+inf')) do
  tokens[#tokens + 1] = redis.call('HGET', KEYS[2], node) or nil
end
return tokens
