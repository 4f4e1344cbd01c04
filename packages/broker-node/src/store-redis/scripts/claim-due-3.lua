-- Claims wills and group jobs that are due: nobody else gets them before the claim ends.
-- KEYS  1 due  2 wills  3 jobs; all {p<K>}
-- ARGV  1 now ms  2 end of the claim ms  3.. members of due: 'w'<id> or 'g'<id>
-- Returns per member the encoded will or the job, '' when it is not there any more or another node was first
local now = tonumber(ARGV[1])
local claimed, tables = {}, { w = KEYS[2], g = KEYS[3] }
for i = 3, #ARGV do
  local member = ARGV[i]
  local score = redis.call('ZSCORE', KEYS[1], member)
  local value = ''
  if score and tonumber(score) <= now then
    value = redis.call('HGET', tables[member:sub(1, 1)], member:sub(2)) or ''
    if value == '' then
      redis.call('ZREM', KEYS[1], member)
    else
      redis.call('ZADD', KEYS[1], ARGV[2], member)
    end
  end
  claimed[#claimed + 1] = value
end
return claimed
