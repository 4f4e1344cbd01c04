-- Wills of connections that have ended, until they are published. Names of keys are arguments:
--   wills  hash: <sid>:<epoch> → will; and per client <sid> → "<epoch>=<ms when it fires>,…", oldest first, so that an
--          open finds the wills of its client although their session may be gone
--   due    'w<sid>:<epoch>' with the same ms, or the end of a claim

local function listWills(wills, sid)
  local list = {}
  for epoch, firesAt in (redis.call('HGET', wills, sid) or ''):gmatch('(%d+)=(%d+)') do
    list[#list + 1] = { epoch = epoch, firesAt = tonumber(firesAt) }
  end
  return list
end

local function writeWills(wills, sid, list)
  local parts = {}
  for i, one in ipairs(list) do parts[i] = ('%s=%.0f'):format(one.epoch, one.firesAt) end
  if #parts == 0 then
    redis.call('HDEL', wills, sid)
  else
    redis.call('HSET', wills, sid, table.concat(parts, ','))
  end
end

-- Forgets a will that is published, or is not wanted. Does nothing when it is not there.
local function dropWill(wills, due, sid, epoch)
  redis.call('HDEL', wills, sid .. ':' .. epoch)
  redis.call('ZREM', due, 'w' .. sid .. ':' .. epoch)
  local left = {}
  for _, one in ipairs(listWills(wills, sid)) do
    if one.epoch ~= epoch then left[#left + 1] = one end
  end
  writeWills(wills, sid, left)
end
