-- A worker's sign of life. It stands in one of two sets, with the time it is good until by the store's own clock.
-- KEYS: ready, draining, workers, known. ARGV: worker, 'ready' | 'draining' | 'gone', announcement, ttl (ms), life (s), life
-- of the announcement that is kept when no worker is left (s).
local sets = {ready = KEYS[1], draining = KEYS[2]}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, set in pairs(sets) do
  redis.call('ZREM', set, ARGV[1])
  for _, silent in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%d', now))) do
    redis.call('ZREM', set, silent)
    redis.call('HDEL', KEYS[3], silent)
  end
end
if ARGV[2] == 'gone' then
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('ZADD', sets[ARGV[2]], string.format('%d', now + ARGV[4]), ARGV[1])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
end
redis.call('SET', KEYS[4], ARGV[3], 'EX', ARGV[6])
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[5]) end
return now
