-- How many requests are served before one that waits, or -1 where it does not wait.
-- KEYS: its lane's queue, then the queues served before that lane. ARGV: group, entry id.
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

local waiting = redis.call('XRANGE', KEYS[1], '(' .. last_given(KEYS[1]), ARGV[2])
if #waiting == 0 or waiting[#waiting][1] ~= ARGV[2] then return -1 end
local before = #waiting - 1
for i = 2, #KEYS do before = before + #redis.call('XRANGE', KEYS[i], '(' .. last_given(KEYS[i]), '+') end
return before
