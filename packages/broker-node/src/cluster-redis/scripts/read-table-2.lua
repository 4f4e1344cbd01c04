-- Where a table stands, and what came after a version.
-- KEYS  1 meta hash  2 log stream
-- ARGV  1 epoch to begin with  2 first version wanted  3 entries at most
-- Returns {epoch, version, {{id, {name, value, ...}}, ...}}
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[1], 'epoch', epoch)
  redis.call('DEL', KEYS[2])
end
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if tonumber(ARGV[3]) == 0 then return {epoch, version, {}} end
return {epoch, version, redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])}
