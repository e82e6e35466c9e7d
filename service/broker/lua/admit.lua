-- Take a request into a lane, or say why not. One script, so that two gateways cannot both take the last place.
-- KEYS: queue, load, ready, draining. ARGV: group, request ('' only asks), cost, max waiting, max bytes, life (s).
-- Answers {what, number or entry id}.
local queue, load, ready, draining = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = string.format('(%d', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('ZCOUNT', ready, now, '+inf') == 0 then
  if redis.call('ZCOUNT', draining, now, '+inf') > 0 then return {'draining', 0} end
  return {'no_worker', 0}
end

local taken = 0
local pending = redis.pcall('XPENDING', queue, ARGV[1])  -- an error means that no worker ever read: nothing is taken
if not pending.err then taken = tonumber(pending[1]) end
local waiting = redis.call('XLEN', queue) - taken
if waiting >= tonumber(ARGV[4]) then return {'full', waiting} end

local bytes = tonumber(redis.call('GET', load) or '0')
if bytes + tonumber(ARGV[3]) > tonumber(ARGV[5]) then return {'heavy', bytes} end
if ARGV[2] == '' then return {'free', waiting} end

local id = redis.call('XADD', queue, '*', 'request', ARGV[2], 'cost', ARGV[3])
redis.call('INCRBY', load, ARGV[3])
redis.call('EXPIRE', queue, ARGV[6])
redis.call('EXPIRE', load, ARGV[6])
return {'queued', id}
