-- Ends the connection of a session; the session ends with it when its expiry is 0.
-- KEYS  1 record  2 subscriptions  3 queue  4 inbound QoS 2  5 released  6 groups taken from  7 due  8 wills  9 jobs
--       10 owners  11 stored ids; all {p<K>} of the client id
-- ARGV  1 sid  2 epoch, '' when a dead node is cleaned up  3 nodeId of the dead node, else ''
--       4 session expiry s, '' for what open said  5 will: fire|discard  6 now ms  7 end ms of the claim on a group job
--       8 newest queue entry that was sent, '' when unknown: then all may have been
--       9.. seqs that were acknowledged while an older one was not
-- Returns {1, subscriptions of an ended session, group job or '', epoch} | {0} nothing to close
-- Errors  FENCED a newer open has happened
local K = { s = KEYS[1], sub = KEYS[2], q = KEYS[3], i2 = KEYS[4], r2 = KEYS[5], g = KEYS[6], due = KEYS[7],
  wills = KEYS[8], jobs = KEYS[9], ids = KEYS[11] }
-- @include wills
-- @include session
local sid, now = ARGV[1], tonumber(ARGV[6])
local rec = redis.call('HMGET', K.s, 'ep', 'node', 'exp', 'will', 'wd', 't', 'h', 'b')
if ARGV[3] ~= '' then
  redis.call('ZREM', KEYS[10], ARGV[3] .. '|' .. sid)
  if rec[2] ~= ARGV[3] then return { 0 } end
end
local isFenced = ARGV[2] ~= '' and rec[1] and rec[1] ~= ARGV[2]
if isFenced or not rec[1] or rec[2] == '' then
  -- v5 [MQTT-3.14.4-3]: DISCONNECT takes the will back even if something else has ended the connection before it.
  if ARGV[5] == 'discard' then dropWill(K.wills, K.due, sid, ARGV[2]) end
  return isFenced and redis.error_reply('FENCED a newer connection owns the session') or { 0 }
end
redis.call('ZREM', KEYS[10], rec[2] .. '|' .. sid)
local exp = tonumber(ARGV[4] ~= '' and ARGV[4] or rec[3])
if ARGV[5] == 'fire' and rec[4] and rec[4] ~= '' then
  local firesAt = now + math.min(tonumber(rec[5]), exp) * 1000
  fireWill(sid, rec[1], rec[4], firesAt, firesAt)
end
local id = sid .. ':' .. rec[1]
-- Nobody asks a clean-up for the subscriptions, so a session that has any ends in the sweep, which tells them.
local endsLater = exp == 0 and ARGV[3] ~= '' and redis.call('EXISTS', K.sub) == 1
if exp == 0 and not endsLater then
  local subs, groups = endSession(sid)
  return { 1, subs, addGroupJob(id, 'drop', groups, ARGV[7]), tonumber(rec[1]) }
end
local bytes = tonumber(rec[8])
for i = 9, #ARGV do
  local seq = tonumber(ARGV[i])
  local entry = redis.call('LINDEX', K.q, seq - tonumber(rec[7]))
  if seq >= tonumber(rec[7]) and seq <= tonumber(rec[6]) and entry then
    -- The list has a place for every seq, so what is acknowledged ahead of others leaves an empty entry.
    redis.call('LSET', K.q, seq - tonumber(rec[7]), '')
    redis.call('SREM', K.r2, seq)
    bytes = bytes - #entry
  end
end
redis.call('HDEL', K.s, 'will', 'wd')
redis.call('HSET', K.s, 'node', '', 'exp', exp, 'b', bytes, 'sent', ARGV[8] ~= '' and ARGV[8] or rec[6])
-- 0xFFFFFFFF never expires: v5 [MQTT-3.1.2-11.2].
if exp < 4294967295 then redis.call('ZADD', K.due, now + exp * 1000, 'e' .. sid) end
return { 1, {}, addGroupJob(id, 'keep', redis.call('SMEMBERS', K.g), ARGV[7]), tonumber(rec[1]) }
