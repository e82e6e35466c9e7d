-- Admit a request, or answer why not: check the queue's room, write the request's record, and queue it. One script, so
-- that two gateways cannot both take the last place, and a request has a record if and only if it was queued.
-- KEYS: queue, load, ready, draining, waiting, and to admit the record. ARGV: group, request (empty: check only), cost, max
-- waiting, max bytes, life of the queue (s), 1 where the model scales from zero (it may wait for a worker, else 0), and to
-- admit life of the record (s) and the record's fields and values.
-- Answers {outcome, requests that wait or the entry's id, bytes that the queue holds}.
local queue, load, ready, draining, waits, record = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if record and (redis.call('HEXISTS', record, 'tenant') == 1 or redis.call('HEXISTS', record, 'cancelled') == 1) then
  return {'duplicate', 0, 0}
end

local time = redis.call('TIME')
local now = string.format('(%d', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[7] ~= '1' and redis.call('ZCOUNT', ready, now, '+inf') == 0 then
  if redis.call('ZCOUNT', draining, now, '+inf') > 0 then return {'draining', 0, 0} end
  return {'no_worker', 0, 0}
end

local taken = 0
local pending = redis.pcall('XPENDING', queue, ARGV[1])  -- an error means that no worker ever read: nothing is taken
if not pending.err then taken = tonumber(pending[1]) end
local waiting = redis.call('XLEN', queue) - taken
local bytes = tonumber(redis.call('GET', load) or '0')
if waiting >= tonumber(ARGV[4]) then return {'full', waiting, bytes} end
if bytes + tonumber(ARGV[3]) > tonumber(ARGV[5]) then return {'heavy', waiting, bytes} end
if ARGV[2] == '' then return {'free', waiting, bytes} end

local id = redis.call('XADD', queue, '*', 'request', ARGV[2], 'cost', ARGV[3])
redis.call('INCRBY', load, ARGV[3])
redis.call('EXPIRE', queue, ARGV[6])
redis.call('EXPIRE', load, ARGV[6])

-- Its place among those that wait, in the order of the ids; those that a worker was given meanwhile go.
local function place(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return string.rep('0', 15 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end
local groups = redis.pcall('XINFO', 'GROUPS', queue)
for _, group in ipairs(groups.err and {} or groups) do
  local fields = {}
  for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
  if fields['name'] == ARGV[1] then
    redis.call('ZREMRANGEBYLEX', waits, '-', '[' .. place(fields['last-delivered-id']))
  end
end
redis.call('ZADD', waits, 0, place(id))
redis.call('EXPIRE', waits, ARGV[6])

redis.call('HSET', record, 'entry', id, unpack(ARGV, 9))
redis.call('EXPIRE', record, ARGV[8])
return {'queued', id, bytes}
