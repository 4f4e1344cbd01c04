-- When a queue entry expires (Unix ms), 0 for never. Knows the layout of protocol-core/src/envelope.ts, version 1.
local function expiryOf(entry)
  local at = 3
  if math.floor(entry:byte(2) / 8) % 2 == 1 then
    local function skipVarint()
      local value, scale = 0, 1
      while true do
        local byte = entry:byte(at)
        at = at + 1
        value = value + (byte % 128) * scale
        if byte < 128 then return value end
        scale = scale * 128
      end
    end
    for _ = 1, skipVarint() do skipVarint() end
  end
  if math.floor(entry:byte(at + 1) / 8) % 2 == 0 then return 0 end
  local topicSize = entry:byte(at + 2) * 256 + entry:byte(at + 3)
  local a, b, c, d, e, f = entry:byte(at + 4 + topicSize, at + 9 + topicSize)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
