-- Keep the result of a batch's line, unless it has one, and count it.
-- KEYS: results, batch. ARGV: line, result, life of the results (s), the field that counts it, '1' where an earlier try
-- of the same result may have come through. Answers 1 where it is the first, by this try or that one.
local results, batch = KEYS[1], KEYS[2]
if redis.call('HSETNX', results, ARGV[1], ARGV[2]) == 0 then
  return (ARGV[5] == '1' and redis.call('HGET', results, ARGV[1]) == ARGV[2]) and 1 or 0
end
redis.call('EXPIRE', results, ARGV[3])
if redis.call('HLEN', batch) > 0 then
  redis.call('HINCRBY', batch, ARGV[4], 1)
  redis.call('HINCRBY', batch, 'bytes', #ARGV[2])
end
return 1
