-- Walks the index of retained topics for a filter with wildcards: a mismatch seeks to the next topic name that can
-- match, so subtrees that cannot are never read.
-- KEYS  1 values  2 index; both {p<J>}
-- ARGV  1 lower bound as for ZRANGEBYLEX ('-', '['<topic>, '('<topic>)  2 count max  3 seeks max  4 bytes max
--       5.. levels of the filter
-- Returns {lower bound to go on with, '' at the end, encoded messages}
local countMax, seeksMax, bytesMax = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local filter = {}
for i = 5, #ARGV do filter[i - 4] = ARGV[i] end

-- The server may run with a locale that orders text by another rule than its index does.
local function isLess(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Lower bound behind everything below the last '+' before `level` ('0' follows '/'); '' when nothing can follow.
local function behindPlus(ends, level, topic)
  for i = level - 1, 1, -1 do
    if filter[i] == '+' then return '[' .. topic:sub(1, ends[i]) .. '0' end
  end
  return ''
end

-- Compares one topic name. Returns true and a bound for the next, or false and the bound to seek.
local function try(topic)
  if (filter[1] == '+' or filter[1] == '#') and topic:byte(1) == 36 then return false, '[%' end
  local ends, from = {}, 1
  for i = 1, #filter do
    if filter[i] == '#' then return true, '(' .. topic end
    local slash = topic:find('/', from, true)
    local last = slash and slash - 1 or #topic
    ends[i] = last
    if filter[i] ~= '+' then
      local level = topic:sub(from, last)
      if level ~= filter[i] then
        local target = topic:sub(1, from - 1) .. filter[i]
        if isLess(topic, target) then return false, '[' .. target end
        -- Names like 'a!' lie between 'a' and 'a/': the level may still come when the filter goes on.
        if i < #filter and isLess(topic, target .. '/') then return false, '[' .. target .. '/' end
        return false, behindPlus(ends, i, topic)
      end
    end
    if not slash then
      if i == #filter or (i == #filter - 1 and filter[#filter] == '#') then return true, '(' .. topic end
      return false, filter[i] == '+' and '(' .. topic or '[' .. topic .. '/'
    end
    from = slash + 1
  end
  return false, behindPlus(ends, #filter + 1, topic)
end

local values, bytes, bound, seeks, size = {}, 0, ARGV[1], 0, 1
while bound ~= '' and seeks < seeksMax and #values < countMax and bytes < bytesMax do
  seeks = seeks + 1
  local topics = redis.call('ZRANGEBYLEX', KEYS[2], bound, '+', 'LIMIT', 0, size)
  if #topics < 1 then bound = '' end
  for _, topic in ipairs(topics) do
    local matched
    matched, bound = try(topic)
    if not matched then
      size = 1
      break
    end
    size = math.min(size * 2, 32)
    local value = redis.call('HGET', KEYS[1], topic)
    if value then
      values[#values + 1] = value
      bytes = bytes + #value
    end
    if #values >= countMax or bytes >= bytesMax then break end
  end
end
return { bound, values }
