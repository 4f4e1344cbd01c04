-- Counts what an instance is about to retain, as far as there is room.
-- KEYS  1 sizes  2 sum; both {q:<instance>}
-- ARGV  1 messages, 2 bytes that there may be  then pairs: topic name, size (0 removes)
-- Returns per pair 1 room | 0 none; nothing at all when what is there has not been counted
if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local messagesMax, bytesMax = tonumber(ARGV[1]), tonumber(ARGV[2])
local count, sum = redis.call('HLEN', KEYS[1]), tonumber(redis.call('GET', KEYS[2]))
local before, answers = sum, {}
for i = 3, #ARGV, 2 do
  local size = tonumber(ARGV[i + 1])
  local old = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '-1')
  local room = 1
  if size == 0 then
    if old >= 0 then
      redis.call('HDEL', KEYS[1], ARGV[i])
      count, sum = count - 1, sum - old
    end
  elseif (old < 0 and count >= messagesMax) or sum - math.max(old, 0) + size > bytesMax then
    room = 0
  else
    redis.call('HSET', KEYS[1], ARGV[i], size)
    if old < 0 then count = count + 1 end
    sum = sum - math.max(old, 0) + size
  end
  answers[#answers + 1] = room
end
if sum ~= before then redis.call('INCRBY', KEYS[2], string.format('%.0f', sum - before)) end
return answers
