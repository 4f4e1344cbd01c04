-- Forgets an inbound QoS 2 packet id.
-- KEYS  1 record  2 inbound QoS 2; both {p<K>} of the publisher
-- ARGV  1 epoch  2 packet id
-- Returns 1
-- Errors  FENCED
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[1] then
  return redis.error_reply('FENCED a newer connection owns the session')
end
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
