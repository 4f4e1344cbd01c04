-- Gives up the slots of processes that are not alive.
-- KEYS  1 slots of a kind {q:<instance>}
-- ARGV  1.. tokens of the processes that are
-- Returns how many were given up
local alive, dropped = {}, 0
for i = 1, #ARGV do alive[ARGV[i]] = true end
local slots = redis.call('HGETALL', KEYS[1])
for i = 1, #slots, 2 do
  if not alive[slots[i + 1]:match('^[^#]*')] then
    redis.call('HDEL', KEYS[1], slots[i])
    dropped = dropped + 1
  end
end
return dropped
