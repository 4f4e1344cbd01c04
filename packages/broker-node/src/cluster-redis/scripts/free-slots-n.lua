-- Gives back slots, unless somebody else holds them by now.
-- KEYS  1.. slots of a kind; all {q:<instance>}
-- ARGV  1 name  2 holder and claim
-- Returns 1
for i = 1, #KEYS do
  if redis.call('HGET', KEYS[i], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[i], ARGV[1]) end
end
return 1
