-- Replaces or removes retained messages of one instance, in order.
-- KEYS  1 values  2 index  3 due; all {p<J>} of the first topic level
-- ARGV  1 prefix of the members of due  2.. triples: topic name, encoded message or '' to remove, expiry ms or 0
-- Returns 1
for i = 2, #ARGV, 3 do
  local topic = ARGV[i]
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], topic)
    redis.call('ZREM', KEYS[2], topic)
  else
    redis.call('HSET', KEYS[1], topic, ARGV[i + 1])
    redis.call('ZADD', KEYS[2], 0, topic)
  end
  if ARGV[i + 1] == '' or ARGV[i + 2] == '0' then
    redis.call('ZREM', KEYS[3], ARGV[1] .. topic)
  else
    redis.call('ZADD', KEYS[3], ARGV[i + 2], ARGV[1] .. topic)
  end
end
return 1
