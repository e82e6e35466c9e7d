-- A client comes to read a request: once by its name, however often the script runs, and not after it left (depart.lua).
-- KEYS: record. ARGV: the client's name, life of the record (s). Answers how many read now.
local record, name = KEYS[1], ARGV[1]
if redis.call('HEXISTS', record, 'tenant') == 0 then return 0 end
if redis.call('HEXISTS', record, 'left:' .. name) == 0 and redis.call('HSETNX', record, 'came:' .. name, '1') == 1 then
  redis.call('HINCRBY', record, 'readers', 1)
  redis.call('HINCRBY', record, 'attached', 1)
end
redis.call('EXPIRE', record, ARGV[2])
return tonumber(redis.call('HGET', record, 'readers'))
