-- One page of what is retained in a partition.
-- KEYS  1 values {p<J>}
-- ARGV  1 cursor  2 about how many
-- Returns the next cursor, then topic name and size of each
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = { page[1] }
for i = 1, #page[2], 2 do
  found[#found + 1] = page[2][i]
  found[#found + 1] = #page[2][i + 1]
end
return found
