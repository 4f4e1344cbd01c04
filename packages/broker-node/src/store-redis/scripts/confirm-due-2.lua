-- Forgets a will that is published, or a group job that is done.
-- KEYS  1 due  2 wills or jobs; both {p<K>}
-- ARGV  1 member of due: 'w'<id> or 'g'<id>
-- Returns 1
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1]:sub(2))
return 1
