-- Drops the acknowledged front of a session's queue.
-- KEYS  1 record  2 queue  3 released; all {p<K>} of the client id
-- ARGV  1 epoch  2 up to this seq
-- Returns the count of dropped entries
-- Errors  FENCED
local rec = redis.call('HMGET', KEYS[1], 'ep', 'h', 't', 'b')
if rec[1] ~= ARGV[1] then return redis.error_reply('FENCED a newer connection owns the session') end
local head, bytes = tonumber(rec[2]), tonumber(rec[4])
local count = math.min(tonumber(ARGV[2]), tonumber(rec[3])) - head + 1
if count <= 0 then return 0 end
local left = count
while left > 0 do
  local part = redis.call('LPOP', KEYS[2], math.min(left, 256))
  if not part then break end
  for _, entry in ipairs(part) do bytes = bytes - #entry end
  left = left - #part
end
redis.call('HSET', KEYS[1], 'h', head + count, 'b', bytes)
if redis.call('EXISTS', KEYS[3]) == 1 then
  for _, seq in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    if tonumber(seq) < head + count then redis.call('SREM', KEYS[3], seq) end
  end
end
return count
