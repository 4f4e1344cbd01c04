-- Ids of sessions of one instance in one partition, in order.
-- KEYS  1 owners  2 due  3 stored ids; all {p<K>}
-- ARGV  1 how the ids of the instance begin  2 id behind which to go on, or ''  3 count at most
-- Returns ids; as many as ARGV 3 when there may be more
local start, after, max = ARGV[1], ARGV[2], tonumber(ARGV[3])
local seen, ids = {}, {}
local function take(id)
  if string.sub(id, 1, #start) == start and id > after and not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
  end
end
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  take(string.sub(member, string.find(member, '|', 1, true) + 1))
end
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if string.sub(member, 1, 1) == 'e' then take(string.sub(member, 2)) end
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do take(id) end
table.sort(ids)
for i = #ids, max + 1, -1 do ids[i] = nil end
return ids
