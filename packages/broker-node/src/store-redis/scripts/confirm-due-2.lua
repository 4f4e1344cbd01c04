-- Forgets a will that is published or not wanted, or a group job that is done.
-- KEYS  1 due  2 wills or jobs; both {p<K>}
-- ARGV  1 member of due: 'w'<id> or 'g'<id>
-- Returns 1
-- @include wills
if ARGV[1]:sub(1, 1) == 'w' then
  local sid, epoch = ARGV[1]:match('^w(.*):(%d+)$')
  dropWill(KEYS[2], KEYS[1], sid, epoch)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1]:sub(2))
end
return 1
