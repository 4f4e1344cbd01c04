-- Marks what a member holds with its new epoch and lists it.
-- KEYS  1 what this member holds, {p<K>} of the group
-- ARGV  1 epoch
-- Returns per message {seq, packet id, released 0|1, entry}, unordered
-- Errors  FENCED a newer connection has marked it
local held = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local epoch, packetId, released = struct.unpack('>dI2B', all[i + 1])
  if epoch > tonumber(ARGV[1]) then return redis.error_reply('FENCED a newer connection owns the session') end
  local entry = all[i + 1]:sub(12)
  if epoch < tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], all[i], struct.pack('>dI2B', ARGV[1], packetId, released) .. entry)
  end
  held[#held + 1] = { tonumber(all[i]), packetId, released, entry }
end
return held
