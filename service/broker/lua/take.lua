-- Give a worker requests that wait: lane by lane, and within a lane in the order of their turns (admit.lua), so that the
-- callers take turns whatever each of them has queued.
-- KEYS: for each lane its queue, waiting, turns. ARGV: group, consumer, how many at most, life (s).
-- Answers {lane's number, entry id, fields} each. A worker runs this at every step: where nothing waits it is cheap.
local group, consumer, room = ARGV[1], ARGV[2], tonumber(ARGV[3])
local taken = {}

local function last_given(queue)
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', queue)) do
    local of = {}
    for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
    if of['name'] == group then return of['last-delivered-id'] end
  end
end

-- FORCE makes the pending entry with a delivery counted already, and XCLAIM would count this one again: RETRYCOUNT 1
-- leaves the counter as a read by XREADGROUP does.
local function give(lane, id)
  local claim = {'XCLAIM', KEYS[3 * lane - 2], group, consumer, 0, id, 'RETRYCOUNT', 1, 'FORCE', 'LASTID', id}
  local entry = redis.call(unpack(claim))[1]
  if entry then taken[#taken + 1] = {lane, entry[1], entry[2]} end
end

local function take(lane, id, turn)
  local queue, waits, turns = KEYS[3 * lane - 2], KEYS[3 * lane - 1], KEYS[3 * lane]
  local held = redis.pcall('XPENDING', queue, group, id, id, 1)
  if held.err then return held end  -- the group may be gone; then the worker makes it anew
  redis.call('ZREM', waits, id)
  if #held > 0 then return nil end  -- was given by a blocked read
  redis.call('HSET', turns, 'now', turn)
  redis.call('EXPIRE', turns, ARGV[4])
  -- No blocked read finds what lies before the last id given. Entries without a turn, which no admission wrote, go with
  -- the one that passes them; each is passed once.
  for _, passed in ipairs(redis.call('XRANGE', queue, '(' .. last_given(queue), '(' .. id)) do
    if not redis.call('ZSCORE', waits, passed[1]) then give(lane, passed[1]) end
  end
  give(lane, id)
end

for lane = 1, #KEYS / 3 do
  while #taken < room do
    local first = redis.call('ZRANGE', KEYS[3 * lane - 1], 0, 0, 'WITHSCORES')
    if #first == 0 then break end
    local refused = take(lane, first[1], first[2])
    if refused then return refused end
  end
end
return taken
