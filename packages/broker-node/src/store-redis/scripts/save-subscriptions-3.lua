-- Adds or replaces subscriptions of a session.
-- KEYS  1 record  2 subscriptions  3 stored ids; all {p<K>} of the client id
-- ARGV  1 sid  2 epoch  3.. pairs of topic filter, encoded subscription
-- Returns 1
-- Errors  FENCED
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[2] then
  return redis.error_reply('FENCED a newer connection owns the session')
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('SADD', KEYS[3], ARGV[1])
return 1
