-- Appends messages to the queues of sessions and tells the nodes that own them.
-- KEYS  1 dedup  2 dedup ages  then per session: record, queue; all {p<K>}
-- ARGV  1 nodeId of the caller (its own sessions are not poked)  2 now ms  3 prefix of the poke channels
--       4, 5 offline messages, bytes max  6, 7 online messages, bytes max  8 ms a dedup token is kept  9 count of items
--       then per item: encoded message, dedup token or '', count of targets,
--                      per target: number of the session (1 for KEYS 3 and 4), entry header
-- Returns the sequence number per target, in order; 0 refused because the queue is full, -1 no such session
-- @include expiry
-- @include dedup
local caller, now = ARGV[1], tonumber(ARGV[2])
local offline = { tonumber(ARGV[4]), tonumber(ARGV[5]) }
local online = { tonumber(ARGV[6]), tonumber(ARGV[7]) }
local sessions, order, seqs = {}, {}, {}

local function sessionOf(number)
  local session = sessions[number]
  if session then return session end
  local rec = redis.call('HMGET', KEYS[1 + 2 * number], 'node', 'h', 't', 'b', 'sent')
  session = { gone = not rec[1], node = rec[1], added = {}, number = number }
  if rec[1] then
    session.head, session.tail, session.bytes = tonumber(rec[2]), tonumber(rec[3]), tonumber(rec[4])
    session.sent = tonumber(rec[5] or 0)
    session.limits = rec[1] == '' and offline or online
    order[#order + 1] = session
  end
  sessions[number] = session
  return session
end

-- A full offline queue gives up what nobody may receive any more, unless it has been sent before: a message whose
-- delivery began is delivered (v5 [MQTT-3.3.2-5]).
local function dropExpired(session)
  local queue = KEYS[2 + 2 * session.number]
  for _ = 1, 64 do
    if session.node ~= '' or session.head <= session.sent then return end
    local entry = redis.call('LINDEX', queue, 0)
    if not entry then return end
    if entry ~= '' then
      local expiry = expiryOf(entry)
      if expiry == 0 or expiry > now then return end
    end
    redis.call('LPOP', queue)
    session.head, session.bytes = session.head + 1, session.bytes - #entry
  end
end

local function isFull(session, size)
  return session.tail - session.head + 1 >= session.limits[1] or session.bytes + size > session.limits[2]
end

local function append(session, entry)
  if session.gone then return -1 end
  if isFull(session, #entry) then
    dropExpired(session)
    if isFull(session, #entry) then return 0 end
  end
  session.tail, session.bytes = session.tail + 1, session.bytes + #entry
  session.added[#session.added + 1] = entry
  return session.tail
end

local at = 10
for _ = 1, tonumber(ARGV[9]) do
  local message, token, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local known = token ~= '' and recall(token)
  local own = {}
  for i = 1, count do
    local number = tonumber(ARGV[at + 1 + 2 * i])
    local seq
    if known then
      seq = known[KEYS[1 + 2 * number]] or -1
    else
      seq = append(sessionOf(number), ARGV[at + 2 + 2 * i] .. message)
      own[KEYS[1 + 2 * number]] = seq
    end
    seqs[#seqs + 1] = seq
  end
  if token ~= '' and not known then remember(token, own, now, tonumber(ARGV[8])) end
  at = at + 3 + 2 * count
end

local pokes = {}
for _, session in ipairs(order) do
  if #session.added > 0 then
    for i = 1, #session.added, 1000 do
      redis.call('RPUSH', KEYS[2 + 2 * session.number], unpack(session.added, i, math.min(i + 999, #session.added)))
    end
    redis.call('HSET', KEYS[1 + 2 * session.number], 'h', session.head, 't', session.tail, 'b', session.bytes)
    if session.node ~= '' and session.node ~= caller then
      local lines = pokes[session.node] or {}
      lines[#lines + 1] = KEYS[1 + 2 * session.number]:match('}:(.*)$') .. ' ' .. session.tail
      pokes[session.node] = lines
    end
  end
end
for node, lines in pairs(pokes) do redis.call('PUBLISH', ARGV[3] .. node, table.concat(lines, '\n')) end
return seqs
