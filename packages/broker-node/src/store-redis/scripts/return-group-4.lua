-- Gives messages that a member holds back to its share group, in their old order.
-- KEYS  1 group queue  2 group record  3 members that hold something  4 what this member holds; all {p<K>} of the group
-- ARGV  1 client id  2 messages at QoS 2: keep | return, but those with PUBREC are forgotten | drop
--       3 newest epoch whose messages go back, '' for all
-- Returns the count of messages given back
local all = redis.call('HGETALL', KEYS[4])
local back, dropped, droppedBytes = {}, 0, 0
for i = 1, #all, 2 do
  local value = all[i + 1]
  local epoch, _, released = struct.unpack('>dI2B', value)
  local entry = value:sub(12)
  local isQos2 = entry:byte(2) % 4 == 2
  if (ARGV[3] == '' or epoch <= tonumber(ARGV[3])) and not (isQos2 and ARGV[2] == 'keep') then
    redis.call('HDEL', KEYS[4], all[i])
    if isQos2 and (ARGV[2] == 'drop' or released == 1) then
      dropped, droppedBytes = dropped + 1, droppedBytes + #entry
    else
      back[#back + 1] = { tonumber(all[i]), struct.pack('>d', all[i]) .. entry }
    end
  end
end
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
if dropped > 0 then
  redis.call('HINCRBY', KEYS[2], 'c', -dropped)
  redis.call('HINCRBY', KEYS[2], 'b', -droppedBytes)
end
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
