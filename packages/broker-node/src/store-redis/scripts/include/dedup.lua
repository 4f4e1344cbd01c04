-- What an attempt to commit a QoS 2 message has already done here. KEYS 1 and 2 of the including script are the
-- table and its ages; every remembered token drops up to 16 that are too old.
local function recall(token)
  local packed = redis.call('HGET', KEYS[1], token)
  return packed and cmsgpack.unpack(packed)
end

local function remember(token, outcome, now, keptMs)
  redis.call('HSET', KEYS[1], token, cmsgpack.pack(outcome))
  redis.call('ZADD', KEYS[2], now, token)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - keptMs, 'LIMIT', 0, 16)) do
    redis.call('HDEL', KEYS[1], old)
    redis.call('ZREM', KEYS[2], old)
  end
end
