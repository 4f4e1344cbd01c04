-- Gives messages that a member holds back to its share group, in their old order.
-- KEYS  1 group queue  2 members that hold something  3 what this member holds; all {p<K>} of the group
-- ARGV  1 client id  2 keep QoS 2: 0|1  3 newest epoch whose messages go back, '' for all
-- Returns the count of messages given back
local all = redis.call('HGETALL', KEYS[3])
local back = {}
for i = 1, #all, 2 do
  local entry = all[i + 1]:sub(12)
  local epoch = struct.unpack('>d', all[i + 1])
  local isQos2 = entry:byte(2) % 4 == 2
  if not (ARGV[2] == '1' and isQos2) and (ARGV[3] == '' or epoch <= tonumber(ARGV[3])) then
    redis.call('HDEL', KEYS[3], all[i])
    back[#back + 1] = { tonumber(all[i]), struct.pack('>d', all[i]) .. entry }
  end
end
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
if #back == 0 then return 0 end
local count, newest = #back, 0
for _, element in ipairs(back) do newest = math.max(newest, element[1]) end
-- What other members gave back earlier may belong between these.
while true do
  local element = redis.call('LINDEX', KEYS[1], 0)
  local seq = element and struct.unpack('>d', element)
  if not seq or seq > newest then break end
  redis.call('LPOP', KEYS[1])
  back[#back + 1] = { seq, element }
end
table.sort(back, function(a, b) return a[1] > b[1] end)
for _, element in ipairs(back) do redis.call('LPUSH', KEYS[1], element[2]) end
return count
