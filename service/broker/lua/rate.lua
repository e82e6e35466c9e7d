-- One key's share: two buckets that hold a minute's worth and fill evenly, and the requests it has in hand.
-- KEYS: rate, running. ARGV: 'take' | 'look' (at the tokens) | 'charge' | 'renew' | 'refund' (one request), requests a
-- minute, tokens a minute, at once (0: no limit),
-- how long a request in hand counts unless renewed (ms), then for take its name, for charge the tokens, for renew names.
-- Answers {'ok' or the limit that is used up, ms to wait, requests left, tokens left}, the last two as text.
local rate, running, what = KEYS[1], KEYS[2], ARGV[1]
local limits = {requests = tonumber(ARGV[2]), tokens = tonumber(ARGV[3])}
local at_once, lease = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if what == 'renew' then
  for i = 6, #ARGV do redis.call('ZADD', running, 'XX', string.format('%d', now + lease), ARGV[i]) end
  redis.call('PEXPIRE', running, lease)
  return {'ok', 0, '0', '0'}
end

local level, at = {}, tonumber(redis.call('HGET', rate, 'at') or now)
for name, limit in pairs(limits) do
  local kept = tonumber(redis.call('HGET', rate, name) or limit)
  level[name] = math.min(limit, kept + math.max(0, now - at) * limit / 60000)
end

local outcome, wait = 'ok', 0
local function need(name, least)
  if outcome == 'ok' and limits[name] > 0 and level[name] < least then
    outcome, wait = name, math.ceil((least - level[name]) * 60000 / limits[name])
  end
end
if what == 'charge' then
  level.tokens = level.tokens - tonumber(ARGV[6])
elseif what == 'refund' then
  level.requests = math.min(limits.requests, level.requests + 1)
elseif what == 'look' then
  need('tokens', 0)
else
  if at_once > 0 then
    redis.call('ZREMRANGEBYSCORE', running, '-inf', string.format('%d', now))
    if redis.call('ZCARD', running) >= at_once then outcome, wait = 'at_once', 1000 end
  end
  need('tokens', 0)
  need('requests', 1)
  if outcome == 'ok' then
    level.requests = level.requests - 1
    if at_once > 0 then
      redis.call('ZADD', running, string.format('%d', now + lease), ARGV[6])
      redis.call('PEXPIRE', running, lease)
    end
  end
end

local life = 60000  -- until both are full again: then nothing need be known
for name, limit in pairs(limits) do
  if limit > 0 then life = math.max(life, 60000 + (limit - level[name]) * 60000 / limit) end
end
redis.call('HSET', rate, 'at', string.format('%d', now), 'requests', tostring(level.requests),
  'tokens', tostring(level.tokens))
redis.call('PEXPIRE', rate, string.format('%d', math.ceil(life)))
return {outcome, wait, tostring(level.requests), tostring(level.tokens)}
