-- Enters what was found retained; the last call makes the count valid for a while.
-- KEYS  1 sizes  2 sum; both {q:<instance>}
-- ARGV  1 ms for which the count is valid, 0 when more is to come  2 1 to begin anew  then pairs: topic name, size
-- Returns 1
if ARGV[2] == '1' then redis.call('DEL', KEYS[1], KEYS[2]) end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[1] ~= '0' then
  local sum = 0
  for _, size in ipairs(redis.call('HVALS', KEYS[1])) do sum = sum + tonumber(size) end
  redis.call('SET', KEYS[2], string.format('%.0f', sum), 'PX', ARGV[1])
end
return 1
