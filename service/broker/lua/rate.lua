-- One key's share: two buckets that hold a minute's worth and fill evenly, and the requests it has in hand.
-- KEYS: rate, running. ARGV: 'take' | 'free' | 'withdraw' (free, and it does not count) | 'refund' (one request, by no
-- name) | 'renew' | 'charge' | 'look' (at the tokens); requests a minute, tokens a minute, at once (0: no limit), how
-- long a request in hand counts unless renewed (ms); then for take, free and withdraw its name, for charge the tokens,
-- for renew names.
-- Commands come late and twice: a name is taken once, and never after its end. Its score in `running` is when it stops
-- counting, and less than 0 when it has ended.
-- Answers {'ok' or the limit that is used up, ms to wait, requests left, tokens left}, the last two as text.
local rate, running, what = KEYS[1], KEYS[2], ARGV[1]
local limits = {requests = tonumber(ARGV[2]), tokens = tonumber(ARGV[3])}
local at_once, lease = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function state(name)
  local score = tonumber(redis.call('ZSCORE', running, name) or 0)
  return score > 0 and 'taken' or score < 0 and 'ended' or 'new'
end
local function note(name, sign)
  redis.call('ZADD', running, string.format('%d', sign * (now + lease)), name)
  redis.call('PEXPIRE', running, lease)
end

if what == 'renew' then
  for i = 6, #ARGV do
    if state(ARGV[i]) == 'taken' then note(ARGV[i], 1) end
  end
  return {'ok', 0, '0', '0'}
end

local level, at = {}, tonumber(redis.call('HGET', rate, 'at') or now)
for name, limit in pairs(limits) do
  if limit == 0 then redis.call('HDEL', rate, name) end  -- nothing is owed to a limit that there is not
  local kept = tonumber(redis.call('HGET', rate, name) or limit)
  level[name] = math.min(limit, kept + math.max(0, now - at) * limit / 60000)
end

local outcome, wait = 'ok', 0
local function need(name, least)
  if outcome == 'ok' and limits[name] > 0 and level[name] < least then
    outcome, wait = name, math.ceil((least - level[name]) * 60000 / limits[name])
  end
end
local function give_back()
  level.requests = math.min(limits.requests, level.requests + 1)
end
if what == 'charge' then
  level.tokens = level.tokens - tonumber(ARGV[6])
elseif what == 'refund' then
  give_back()
elseif what == 'free' then
  note(ARGV[6], -1)
elseif what == 'withdraw' then
  if state(ARGV[6]) == 'taken' then give_back() end
  note(ARGV[6], -1)
elseif what == 'look' then
  need('tokens', 0)
elseif state(ARGV[6]) == 'new' then
  redis.call('ZREMRANGEBYSCORE', running, string.format('%d', -now), string.format('%d', now))
  if at_once > 0 and redis.call('ZCOUNT', running, 0, '+inf') >= at_once then outcome, wait = 'at_once', 1000 end
  need('tokens', 0)
  need('requests', 1)
  if outcome == 'ok' then
    level.requests = level.requests - 1
    note(ARGV[6], 1)
  end
end

local life = 60000  -- until both are full again: then nothing need be known
for name, limit in pairs(limits) do
  if limit > 0 then life = math.max(life, 60000 + (limit - level[name]) * 60000 / limit) end
end
redis.call('HSET', rate, 'at', string.format('%d', now))
for name, limit in pairs(limits) do
  if limit > 0 then redis.call('HSET', rate, name, tostring(level[name])) end
end
redis.call('PEXPIRE', rate, string.format('%d', math.ceil(life)))
return {outcome, wait, tostring(level.requests), tostring(level.tokens)}
