-- Records that QoS 2 messages are committed. Needs no epoch: the token is this attempt's own.
-- KEYS  1 inbound QoS 2, {p<K>} of the publisher
-- ARGV  pairs of packet id, dedup token
-- Returns 1
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == '0:' .. ARGV[i + 1] then redis.call('HSET', KEYS[1], ARGV[i], '1') end
end
return 1
