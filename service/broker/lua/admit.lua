-- Admit a request, or answer why not: check the queue's room, write the request's record, and queue it. One script, so
-- that two gateways cannot both take the last place, and a request has a record if and only if it was queued.
-- KEYS: queue, load, ready, draining, waiting, turns, and to admit the record and the dead letters. ARGV: group, request
-- (empty: check only), cost, max waiting, max bytes, life of the queue (s), 1 where the model scales from zero (it may wait
-- for a worker, else 0), how long silent workers are told from none (ms), whose turn it takes, the weight of that caller,
-- and to admit life of the record (s), the dead letter that is queued anew (empty: none; it goes, and so does its record),
-- and the record's fields and values.
-- Answers {outcome, requests that wait or the entry's id, bytes that the queue holds}.
local queue, load, ready, draining, waits, turns = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local record, dead, letter = KEYS[7], KEYS[8], ARGV[12] or ''
local known
if letter ~= '' then known = #redis.call('XRANGE', dead, letter, letter) == 0  -- another retry came first
elseif record then
  known = redis.call('HEXISTS', record, 'tenant') == 1 or redis.call('HEXISTS', record, 'cancelled') == 1
end
if known then return {'duplicate', 0, 0} end

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('(%d', ms)
if ARGV[7] ~= '1' and redis.call('ZCOUNT', ready, now, '+inf') == 0 then
  if redis.call('ZCOUNT', ready, string.format('%d', ms - ARGV[8]), '+inf') > 0 then return {'silent', 0, 0} end
  if redis.call('ZCOUNT', draining, now, '+inf') > 0 then return {'draining', 0, 0} end
  return {'no_worker', 0, 0}
end

local taken = 0
local pending = redis.pcall('XPENDING', queue, ARGV[1])  -- an error means that no worker ever read: nothing is taken
if not pending.err then taken = tonumber(pending[1]) end
local waiting = redis.call('XLEN', queue) - taken
local bytes = tonumber(redis.call('GET', load) or '0')
local share, weight, max = 'of:' .. ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[4])
local begins = redis.call('ZCARD', waits) == 0  -- nobody's backlog counts any more
local function turn_of(name) return not begins and tonumber(redis.call('HGET', turns, name)) end
local now_served, last = turn_of('now') or 0, turn_of(share)
local turn = last and math.max(now_served, last + 1 / weight) or now_served
-- The last eighth of the places is for callers with few requests: nobody's backlog can turn the others away.
local reserve = math.floor(max / 8)
local few = waiting == 0 or (turn - now_served) * weight < math.max(reserve, 1)
if waiting >= max or (waiting >= max - reserve and not few) then return {'full', waiting, bytes} end
if bytes + tonumber(ARGV[3]) > tonumber(ARGV[5]) then return {'heavy', waiting, bytes} end
if ARGV[2] == '' then return {'free', waiting, bytes} end

-- The first write needs memory: a full store refuses it here, and refuses none after a script's first write.
local id = redis.call('XADD', queue, '*', 'request', ARGV[2], 'cost', ARGV[3])
redis.call('INCRBY', load, ARGV[3])
redis.call('EXPIRE', queue, ARGV[6])
redis.call('EXPIRE', load, ARGV[6])

-- Its turn: the requests of a caller of weight w stand 1/w apart, the first of them at the turn that is served now. So
-- of callers who all wait each is served by its weight, and who comes with one request stands before the second of
-- everybody else's of its weight. (Start-time fair queueing, Goyal et al. 1996.) A caller's field is its last turn.
if begins then redis.call('DEL', turns) end
redis.call('ZADD', waits, turn, id)
redis.call('HSET', turns, share, string.format('%.17g', turn))
if redis.call('HLEN', turns) > 2 * max + 8 then  -- forget callers whose last turn has come
  local all = redis.call('HGETALL', turns)
  for i = 1, #all, 2 do
    if all[i] ~= 'now' and tonumber(all[i + 1]) <= now_served then redis.call('HDEL', turns, all[i]) end
  end
end
redis.call('EXPIRE', waits, ARGV[6])
redis.call('EXPIRE', turns, ARGV[6])

if letter ~= '' then
  redis.call('DEL', record)
  redis.call('XDEL', dead, letter)
end
redis.call('HSET', record, 'entry', id, unpack(ARGV, 13))
redis.call('EXPIRE', record, ARGV[11])
return {'queued', id, bytes}
