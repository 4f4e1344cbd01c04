local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
  redis.call('DEL', KEYS[3])
end
local nodes = redis.call('ZRANGE', KEYS[4], 0, -1)
local mine = 'batch:' .. ARGV[2]
-- The version under which this batch, or a later one of the same process, was written before.
local written
local last = redis.call('HGET', KEYS[2], mine)
if last then
  local process, batch, version = string.match(last, '^(%S+) (%d+) (%d+)$')
  if process == ARGV[3] and tonumber(batch) >= tonumber(ARGV[4]) then written = tonumber(version) end
end
