-- Records that PUBREC of messages of a share group has arrived.
-- KEYS  1 what this member holds, {p<K>} of the group
-- ARGV  seqs
-- Returns 1
for i = 1, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then redis.call('HSET', KEYS[1], ARGV[i], value:sub(1, 10) .. '\1' .. value:sub(12)) end
end
return 1
