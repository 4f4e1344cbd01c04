-- Writes down that a session takes from a share group, before it takes.
-- KEYS  1 record  2 groups taken from; both {p<K>} of the client id
-- ARGV  1 epoch  2 group
-- Returns 1
-- Errors  FENCED
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[1] then
  return redis.error_reply('FENCED a newer connection owns the session')
end
redis.call('SADD', KEYS[2], ARGV[2])
return 1
