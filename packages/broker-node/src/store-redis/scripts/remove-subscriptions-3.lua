-- Removes subscriptions of a session.
-- KEYS  1 record  2 subscriptions  3 stored ids; all {p<K>} of the client id
-- ARGV  1 sid  2 epoch  3.. topic filters
-- Returns 1
-- Errors  FENCED
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[2] then
  return redis.error_reply('FENCED a newer connection owns the session')
end
for i = 3, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
return 1
