-- Appends messages to the queue of a share group.
-- KEYS  1 dedup  2 dedup ages  3 group queue  4 group record; all {p<K>} of the group
-- ARGV  1 now ms  2, 3 messages, bytes max  4 ms a dedup token is kept  5.. triples: entry header, message, token or ''
-- Returns 1 per message, 0 for one that was refused because the queue is full
-- @include dedup
-- @include expiry
local now = tonumber(ARGV[1])
local rec = redis.call('HMGET', KEYS[4], 't', 'c', 'b')
local tail, count, bytes = tonumber(rec[1] or 0), tonumber(rec[2] or 0), tonumber(rec[3] or 0)
local taken, added = {}, {}

local function isFull(size)
  return count >= tonumber(ARGV[2]) or bytes + size > tonumber(ARGV[3])
end

-- A full queue gives up what nobody may receive any more.
local function dropExpired()
  for _ = 1, 64 do
    local element = redis.call('LINDEX', KEYS[3], 0)
    if not element then return end
    local entry = element:sub(9)
    local expiry = expiryOf(entry)
    if expiry == 0 or expiry > now then return end
    redis.call('LPOP', KEYS[3])
    count, bytes = count - 1, bytes - #entry
  end
end

for i = 5, #ARGV, 3 do
  local token = ARGV[i + 2]
  local known = token ~= '' and recall(token)
  local outcome = 0
  if known then
    outcome = known[1]
  else
    local entry = ARGV[i] .. ARGV[i + 1]
    if isFull(#entry) then dropExpired() end
    if not isFull(#entry) then
      tail, count, bytes, outcome = tail + 1, count + 1, bytes + #entry, 1
      added[#added + 1] = struct.pack('>d', tail) .. entry
    end
    if token ~= '' then remember(token, { outcome }, now, tonumber(ARGV[4])) end
  end
  taken[#taken + 1] = outcome
end
for i = 1, #added, 1000 do redis.call('RPUSH', KEYS[3], unpack(added, i, math.min(i + 999, #added))) end
if #added > 0 then redis.call('HSET', KEYS[4], 't', tail, 'c', count, 'b', bytes) end
return taken
