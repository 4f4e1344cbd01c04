-- Marks what a member holds with its new epoch and lists it.
-- KEYS  1 what this member holds, {p<K>} of the group
-- ARGV  1 epoch
-- Returns per message {seq, packet id, released 0|1, entry}, unordered
local held = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local _, packetId, released = struct.unpack('>dI2B', all[i + 1])
  local entry = all[i + 1]:sub(12)
  redis.call('HSET', KEYS[1], all[i], struct.pack('>dI2B', ARGV[1], packetId, released) .. entry)
  held[#held + 1] = { tonumber(all[i]), packetId, released, entry }
end
return held
