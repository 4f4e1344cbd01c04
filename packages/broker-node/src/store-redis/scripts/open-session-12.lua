-- Makes a node the owner of a session: resumes it, or ends what is stored and creates it.
-- KEYS  1 record  2 subscriptions  3 queue  4 inbound QoS 2  5 released  6 groups taken from  7 due  8 wills  9 jobs
--       10 epoch counter  11 owners  12 stored ids; all {p<K>} of the client id
-- ARGV  1 sid  2 nodeId  3 clean start 0|1  4 session expiry s  5 now ms  6 end ms of claims: wills, group job
--       7 encoded will or ''  8 will delay s  9 whose the client id is
-- Returns {epoch, present 0|1, head, tail, previous nodeId or '', previous epoch, subscriptions, ended subscriptions,
--          inbound packet ids, group job or '', newest entry that may have been sent,
--          will of the displaced connection or '', {id, will, …} of earlier ones, ids that others have claimed};
--          the id of the group job and of the displaced will is <sid>:<previous epoch>, wills are claimed for the caller
-- Errors  OWNED a session that is there belongs to another user; nothing has changed
local K = { s = KEYS[1], sub = KEYS[2], q = KEYS[3], i2 = KEYS[4], r2 = KEYS[5], g = KEYS[6], due = KEYS[7],
  wills = KEYS[8], jobs = KEYS[9], ids = KEYS[12] }
-- @include wills
-- @include session
local sid, nodeId, now = ARGV[1], ARGV[2], tonumber(ARGV[5])
local old = redis.call('HMGET', K.s, 'ep', 'node', 'exp', 'h', 't', 'will', 'wd', 'sent', 'by')
local exists, oldEpoch = old[1] and true or false, old[1] or '0'
local oldNode = old[2] or ''
local oldId = sid .. ':' .. oldEpoch
-- An expired session is gone although no sweep has seen it yet.
local overdue = false
if exists and oldNode == '' then
  local expiry = redis.call('ZSCORE', K.due, 'e' .. sid)
  overdue = old[3] == '0' or (expiry and tonumber(expiry) <= now) or false
end
if exists and not overdue and old[9] and old[9] ~= ARGV[9] then
  return redis.error_reply('OWNED a session of this client id belongs to another user')
end
local epoch = redis.call('INCR', KEYS[10])
local resumed = exists and ARGV[3] == '0' and old[3] ~= '0' and not overdue
local displacedWill, dueWills, claimedIds, left = '', {}, {}, {}
local earlier = listWills(K.wills, sid)
for _, one in ipairs(earlier) do
  local id = sid .. ':' .. one.epoch
  local will = redis.call('HGET', K.wills, id)
  local waits = one.firesAt > now
  if not will or (waits and resumed) then
    -- v5 [MQTT-3.1.3-9]: the client is back before the delay was over.
    redis.call('HDEL', K.wills, id)
    redis.call('ZREM', K.due, 'w' .. id)
  else
    if waits or tonumber(redis.call('ZSCORE', K.due, 'w' .. id) or '0') <= now then
      redis.call('ZADD', K.due, ARGV[6], 'w' .. id)
      one.firesAt = math.min(one.firesAt, now)
      dueWills[#dueWills + 1] = id
      dueWills[#dueWills + 1] = will
    else
      claimedIds[#claimedIds + 1] = id
    end
    left[#left + 1] = one
  end
end
if #earlier > 0 then writeWills(K.wills, sid, left) end
if oldNode ~= '' then
  redis.call('ZREM', KEYS[11], oldNode .. '|' .. sid)
  -- As above for a will with a delay.
  if old[6] and old[6] ~= '' and not (resumed and old[7] ~= '0') then
    displacedWill = old[6]
    fireWill(sid, oldEpoch, displacedWill, now, ARGV[6])
  end
end
local subs, ended, pids, job = {}, {}, {}, ''
local head, tail, sent = 1, 0, 0
if resumed then
  subs = redis.call('HVALS', K.sub)
  local inbound = redis.call('HGETALL', K.i2)
  for i = 1, #inbound, 2 do
    -- State 0 is not known to be committed: the client's DUP has to go through the commit again.
    if inbound[i + 1] == '1' then pids[#pids + 1] = inbound[i] end
  end
  head, tail = old[4], old[5]
  sent = oldNode ~= '' and tail or old[8] or 0
  job = addGroupJob(oldId, 'keep', redis.call('SMEMBERS', K.g), ARGV[6])
  redis.call('ZREM', K.due, 'e' .. sid)
  redis.call('HDEL', K.s, 'will', 'wd')
elseif exists then
  local groups
  ended, groups = endSession(sid)
  job = addGroupJob(oldId, 'drop', groups, ARGV[6])
end
redis.call('HSET', K.s, 'ep', epoch, 'node', nodeId, 'exp', ARGV[4], 'h', head, 't', tail, 'sent', sent,
  'by', ARGV[9])
if not resumed then redis.call('HSET', K.s, 'b', 0) end
if ARGV[7] ~= '' then redis.call('HSET', K.s, 'will', ARGV[7], 'wd', ARGV[8]) end
redis.call('ZADD', KEYS[11], 0, nodeId .. '|' .. sid)
return { epoch, resumed and 1 or 0, tonumber(head), tonumber(tail), oldNode, tonumber(oldEpoch), subs, ended, pids, job,
  tonumber(sent), displacedWill, dueWills, claimedIds }
