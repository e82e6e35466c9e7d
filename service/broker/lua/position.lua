-- How many requests are served before one that waits, or -1 where it does not wait. O(log n) in the queue: the ranks in
-- the sets of waiting entries, of which no body is read.
-- KEYS: its lane's queue and waiting set, then those of the lanes served before it. ARGV: group, entry id.
local function last_given(queue)
  local groups = redis.pcall('XINFO', 'GROUPS', queue)
  if groups.err then return '0-0' end
  for _, group in ipairs(groups) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == ARGV[1] then return fields['last-delivered-id'] end
  end
  return '0-0'
end

local function place(id)  -- as admit.lua writes it
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return string.rep('0', 15 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

local entry, last = place(ARGV[2]), place(last_given(KEYS[1]))
if entry <= last or not redis.call('ZSCORE', KEYS[2], entry) then return -1 end
local before = redis.call('ZLEXCOUNT', KEYS[2], '(' .. last, '(' .. entry)
for i = 3, #KEYS, 2 do before = before + redis.call('ZLEXCOUNT', KEYS[i + 1], '(' .. place(last_given(KEYS[i])), '+') end
return before
