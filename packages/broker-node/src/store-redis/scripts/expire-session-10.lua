-- Ends a session whose expiry has passed and to which nobody is connected.
-- KEYS  1 record  2 subscriptions  3 queue  4 inbound QoS 2  5 released  6 groups taken from  7 due  8 wills  9 jobs
--       10 stored ids; all {p<K>} of the client id
-- ARGV  1 sid  2 now ms  3 end ms of the claim on a group job
-- Returns {1, subscriptions, group job or '', epoch} | {0} not expired, or another node was first
local K = { s = KEYS[1], sub = KEYS[2], q = KEYS[3], i2 = KEYS[4], r2 = KEYS[5], g = KEYS[6], due = KEYS[7],
  wills = KEYS[8], jobs = KEYS[9], ids = KEYS[10] }
-- @include wills
-- @include session
local sid = ARGV[1]
local expiry = redis.call('ZSCORE', K.due, 'e' .. sid)
if not expiry or tonumber(expiry) > tonumber(ARGV[2]) then return { 0 } end
redis.call('ZREM', K.due, 'e' .. sid)
local rec = redis.call('HMGET', K.s, 'ep', 'node')
if not rec[1] or rec[2] ~= '' then return { 0 } end
local subs, groups = endSession(sid)
return { 1, subs, addGroupJob(sid .. ':' .. rec[1], 'drop', groups, ARGV[3]), tonumber(rec[1]) }
