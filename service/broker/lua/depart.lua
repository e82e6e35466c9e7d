-- A client left a request. The last one to leave cancels it: marked in its record, and noted for the workers.
-- KEYS: record, cancels. ARGV: id, a name of this departure (a repeat of the script counts once), life of the record (s),
-- cancels kept, life of the cancels (s), for a submit that was given up with an unknown outcome its creation time and the
-- life (s) of the mark that refuses it, should it still come ('' and 0 otherwise), the time (s) and for how long (s) a
-- departure may be repeated, and '1' for a client that came by attach.lua under this name: if it came.
-- Answers {'cancelled' | 'kept' | 'unknown', readers now, readers ever, grace, queue entry}.
local record, cancels, created = KEYS[1], KEYS[2], ARGV[6]
if redis.call('HEXISTS', record, 'tenant') == 0 then
  if created ~= '' then
    redis.call('HSET', record, 'cancelled', '1')
    redis.call('EXPIRE', record, ARGV[7])
  end
  return {'unknown', 0, 0, '0', ''}
end
local another = created ~= '' and redis.call('HGET', record, 'created') ~= created  -- a repeat, whose client still reads
if not another and redis.call('HSETNX', record, 'left:' .. ARGV[2], ARGV[8]) == 1 then
  if ARGV[10] ~= '1' or redis.call('HDEL', record, 'came:' .. ARGV[2]) == 1 then
    redis.call('HINCRBY', record, 'readers', -1)
  end
  if redis.call('HLEN', record) > 100 then  -- many came and left: forget those that nobody repeats any more
    local all = redis.call('HGETALL', record)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 5) == 'left:' and tonumber(all[i + 1]) < ARGV[8] - ARGV[9] then
        redis.call('HDEL', record, all[i])
      end
    end
  end
end
local now = tonumber(redis.call('HGET', record, 'readers') or '0')
local ever = tonumber(redis.call('HGET', record, 'attached') or '0')
local grace, entry = redis.call('HGET', record, 'grace') or '0', redis.call('HGET', record, 'entry') or ''
if another or now > 0 or (created == '' and tonumber(grace) > 0) then
  if not another then redis.call('EXPIRE', record, ARGV[3]) end
  return {'kept', now, ever, grace, entry}
end
redis.call('HSET', record, 'cancelled', '1')
redis.call('EXPIRE', record, ARGV[3])
redis.call('XADD', cancels, 'MAXLEN', '~', ARGV[4], '*', 'id', ARGV[1])
redis.call('EXPIRE', cancels, ARGV[5])
return {'cancelled', now, ever, grace, entry}
