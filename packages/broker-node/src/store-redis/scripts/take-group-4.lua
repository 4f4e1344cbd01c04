-- Gives the oldest messages of a share group to a member. Expired ones are dropped on the way.
-- KEYS  1 group queue  2 group record  3 members that hold something  4 what this member holds; all {p<K>} of the group
-- ARGV  1 client id  2 epoch  3 now ms  4.. packet ids, one per message wanted
-- Returns per message {seq, packet id, entry}
-- @include expiry
local now, given, dropped, droppedBytes = tonumber(ARGV[3]), {}, 0, 0
local at = 4
while at <= #ARGV and dropped < 1000 do
  local element = redis.call('LPOP', KEYS[1])
  if not element then break end
  local entry = element:sub(9)
  local expiry = expiryOf(entry)
  if expiry ~= 0 and expiry <= now then
    dropped, droppedBytes = dropped + 1, droppedBytes + #entry
  else
    local seq = struct.unpack('>d', element)
    redis.call('HSET', KEYS[4], seq, struct.pack('>dI2B', ARGV[2], ARGV[at], 0) .. entry)
    given[#given + 1] = { seq, tonumber(ARGV[at]), entry }
    at = at + 1
  end
end
if #given > 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
if dropped > 0 then
  redis.call('HINCRBY', KEYS[2], 'c', -dropped)
  redis.call('HINCRBY', KEYS[2], 'b', -droppedBytes)
end
return given
