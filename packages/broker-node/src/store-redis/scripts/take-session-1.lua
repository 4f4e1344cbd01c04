-- Counts a session that may outlive its connection, if there is room.
-- KEYS  1 sessions of the instance {q:<instance>}
-- ARGV  1 client id  2 how many there may be  3 now ms
-- Returns 1 counted | 0 no room
if redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
  return 1
end
return 0
