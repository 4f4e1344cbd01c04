-- Records that a QoS 2 PUBLISH has arrived, before it is committed.
-- KEYS  1 record  2 inbound QoS 2; both {p<K>} of the publisher
-- ARGV  1 epoch  2 packet id  3 dedup token of this attempt
-- Returns '' new | '1' committed before | '0:'<token> an attempt with that token began and may be incomplete
-- Errors  FENCED
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[1] then
  return redis.error_reply('FENCED a newer connection owns the session')
end
local state = redis.call('HGET', KEYS[2], ARGV[2])
if state then return state end
redis.call('HSET', KEYS[2], ARGV[2], '0:' .. ARGV[3])
return ''
