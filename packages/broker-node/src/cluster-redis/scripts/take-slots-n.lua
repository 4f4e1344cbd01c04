-- Counts a name under several limits, if all of them have room.
-- KEYS  1.. slots of a kind; all {q:<instance>}
-- ARGV  1 name  2 holder and claim  3.. the limit of each kind
-- Returns {0} counted | {position of the first kind without room, how many it counts}
for i = 1, #KEYS do
  local used = redis.call('HLEN', KEYS[i])
  if used >= tonumber(ARGV[2 + i]) and redis.call('HEXISTS', KEYS[i], ARGV[1]) == 0 then return { i, used } end
end
for i = 1, #KEYS do redis.call('HSET', KEYS[i], ARGV[1], ARGV[2]) end
return { 0 }
