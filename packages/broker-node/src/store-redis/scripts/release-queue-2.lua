-- Records that PUBREC of queue entries has arrived.
-- KEYS  1 record  2 released; both {p<K>} of the client id
-- ARGV  1 epoch  2.. seqs
-- Returns 1
-- Errors  FENCED
local rec = redis.call('HMGET', KEYS[1], 'ep', 'h', 't')
if rec[1] ~= ARGV[1] then return redis.error_reply('FENCED a newer connection owns the session') end
local head, tail = tonumber(rec[2]), tonumber(rec[3])
for i = 2, #ARGV do
  local seq = tonumber(ARGV[i])
  if seq >= head and seq <= tail then redis.call('SADD', KEYS[2], seq) end
end
return 1
