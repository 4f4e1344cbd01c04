-- Forgets dedup tokens of QoS 2 messages whose commit is complete.
-- KEYS  1 dedup  2 dedup ages; both {p<K>}
-- ARGV  tokens
-- Returns 1
for i = 1, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return 1
