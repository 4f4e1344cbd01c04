-- Forgets messages that a member has acknowledged.
-- KEYS  1 group record  2 members that hold something  3 what this member holds; all {p<K>} of the group
-- ARGV  1 client id  2.. seqs
-- Returns the count of forgotten messages
local count, bytes = 0, 0
for i = 2, #ARGV do
  local size = redis.call('HSTRLEN', KEYS[3], ARGV[i])
  if size > 0 then
    count, bytes = count + 1, bytes + size - 11
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
if count > 0 then
  redis.call('HINCRBY', KEYS[1], 'c', -count)
  redis.call('HINCRBY', KEYS[1], 'b', -bytes)
end
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return count
