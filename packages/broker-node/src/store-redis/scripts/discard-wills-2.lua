-- Forgets wills of one instance that wait to be published.
-- KEYS  1 due  2 wills; both {p<K>}
-- ARGV  1 how the ids of the instance begin  2 count at most
-- Returns how many fields of wills are gone; as many as ARGV 2 when there may be more
local start, max = ARGV[1], tonumber(ARGV[2])
local count = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if count == max then break end
  -- The will of a connection, or the list of those of a client, of which there is no deadline.
  if string.sub(field, 1, #start) == start then
    redis.call('HDEL', KEYS[2], field)
    redis.call('ZREM', KEYS[1], 'w' .. field)
    count = count + 1
  end
end
return count
