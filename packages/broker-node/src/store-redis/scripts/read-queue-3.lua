-- Reads a part of a session's queue.
-- KEYS  1 record  2 queue  3 released; all {p<K>} of the client id
-- ARGV  1 epoch  2 from seq  3 count max  4 bytes after which to stop
-- Returns {seq of the first entry, tail, entries ('' acknowledged ahead of others), released 0|1 per entry or {} when
--          none is, newest entry that may have been sent}
-- Errors  FENCED
local rec = redis.call('HMGET', KEYS[1], 'ep', 'h', 't', 'sent')
if rec[1] ~= ARGV[1] then return redis.error_reply('FENCED a newer connection owns the session') end
local head, tail = tonumber(rec[2]), tonumber(rec[3])
local first = math.max(tonumber(ARGV[2]), head)
local count, bytesMax = tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, bytes = {}, 0
local index = first - head
while #entries < count and bytes < bytesMax do
  local size = math.min(32, count - #entries)
  local part = redis.call('LRANGE', KEYS[2], index, index + size - 1)
  for _, entry in ipairs(part) do
    entries[#entries + 1] = entry
    bytes = bytes + #entry
    if bytes >= bytesMax then break end
  end
  if #part < size then break end
  index = index + size
end
local released = {}
if #entries > 0 and redis.call('EXISTS', KEYS[3]) == 1 then
  for i = 1, #entries do released[i] = redis.call('SISMEMBER', KEYS[3], first + i - 1) end
end
return { first, tail, entries, released, tonumber(rec[4] or 0) }
