-- Functions shared by the scripts that start or end a session. Locals of the including script:
--   K  table of key names: s sub q i2 r2 g due wills jobs ids
-- Needs wills.lua. What is decided here is the table in protocol-core/src/session-rules.ts.

-- Forgets everything of a session but its wills. Returns its subscriptions and the groups it has taken from.
local function endSession(sid)
  local subs = redis.call('HVALS', K.sub)
  local groups = redis.call('SMEMBERS', K.g)
  redis.call('DEL', K.s, K.sub, K.q, K.i2, K.r2, K.g)
  redis.call('SREM', K.ids, sid)
  redis.call('ZREM', K.due, 'e' .. sid)
  return subs, groups
end

-- Writes down that messages of this session's share groups have to go back: the caller does it at once, and any
-- node does it when the caller dies first. Returns the job as the caller needs it, '' for none.
-- `qos2`: keep|drop, as for return-group-4.lua.
local function addGroupJob(id, qos2, groups, dueMs)
  if #groups == 0 then return '' end
  local job = qos2 .. '\n' .. table.concat(groups, '\n')
  redis.call('HSET', K.jobs, id, job)
  redis.call('ZADD', K.due, dueMs, 'g' .. id)
  return job
end

-- Keeps the will of a connection that has ended: due at `firesAt`, and nobody else's before `availableAt`.
local function fireWill(sid, epoch, will, firesAt, availableAt)
  redis.call('HSET', K.wills, sid .. ':' .. epoch, will)
  redis.call('ZADD', K.due, availableAt, 'w' .. sid .. ':' .. epoch)
  local list = listWills(K.wills, sid)
  list[#list + 1] = { epoch = epoch, firesAt = firesAt }
  writeWills(K.wills, sid, list)
end
