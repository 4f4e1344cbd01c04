-- Takes tokens out of buckets, as far as they go, or gives some back.
-- KEYS  1.. buckets; all {q:<instance>}
-- ARGV  per bucket: tokens a second, tokens it holds, tokens wanted (below 0: given back)
-- Returns per bucket: granted, ms until it has a token again (0 when all was granted), whole tokens left
local t = redis.call('TIME')
local nowUs = t[1] * 1000000 + t[2]
local leases = {}
for i = 1, #KEYS do
  local rate, burst, want = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local granted, waitMs, left = 0, 0, 0
  if rate <= 0 or burst <= 0 then
    if want > 0 then waitMs = 86400000 end
  else
    local kept = redis.call('HMGET', KEYS[i], 'level', 'at')
    local level = burst
    -- A clock that was set back gives nothing and takes nothing.
    if kept[1] then level = math.min(burst, tonumber(kept[1]) + math.max(0, nowUs - tonumber(kept[2])) * rate / 1000000) end
    if want > 0 then granted = math.max(0, math.min(want, math.floor(level))) else level = math.min(burst, level - want) end
    level = level - granted
    left = math.max(0, math.floor(level))
    if granted < want then waitMs = math.max(1, math.ceil((1 - level) * 1000 / rate)) end
    redis.call('HSET', KEYS[i], 'level', string.format('%.6f', level), 'at', string.format('%.0f', nowUs))
    -- Forgotten when it is full again, as if it had never been used.
    redis.call('PEXPIRE', KEYS[i], math.min(8640000000, math.ceil((burst - level) * 1000 / rate) + 1000))
  end
  leases[3 * i - 2], leases[3 * i - 1], leases[3 * i] = granted, waitMs, left
end
return leases
