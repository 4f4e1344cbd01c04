-- Claims wills and group jobs that are due: nobody else gets them before the claim ends.
-- KEYS  1 due  2 wills  3 jobs; all {p<K>}
-- ARGV  1 now ms  2 end of the claim ms  3.. members of due: 'w'<id> or 'g'<id>
-- Returns per member the encoded will or the job, '' when it is not due or somebody else has claimed it, nil when it is
--          not there any more
local now = tonumber(ARGV[1])
local claimed, tables = {}, { w = KEYS[2], g = KEYS[3] }
for i = 3, #ARGV do
  local member = ARGV[i]
  local value = redis.call('HGET', tables[member:sub(1, 1)], member:sub(2))
  if not value then
    redis.call('ZREM', KEYS[1], member)
  elseif tonumber(redis.call('ZSCORE', KEYS[1], member) or '0') <= now then
    redis.call('ZADD', KEYS[1], ARGV[2], member)
  else
    value = ''
  end
  claimed[#claimed + 1] = value
end
return claimed
