-- Remove an entry from its queue for good and give back its bytes: once, however often the script runs.
-- KEYS: queue, load, dead letters, waiting. ARGV: group, entry id, reason ('' for none: no dead letter), at, keep, life (s).
local queue, load, dead, waits = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('XRANGE', queue, ARGV[2], ARGV[2])
redis.call('ZREM', waits, ARGV[2])
redis.pcall('XACK', queue, ARGV[1], ARGV[2])  -- the group may not exist; then nothing is pending
if #found == 0 then return 0 end

local fields = {}
for i = 1, #found[1][2], 2 do fields[found[1][2][i]] = found[1][2][i + 1] end
if ARGV[3] ~= '' then
  redis.call('XADD', dead, 'MAXLEN', '~', ARGV[5], '*', 'reason', ARGV[3], 'at', ARGV[4],
    'request', fields['request'] or '')
  redis.call('EXPIRE', dead, ARGV[6])
end
redis.call('XDEL', queue, ARGV[2])
if redis.call('XLEN', queue) == 0 then
  redis.call('DEL', load)  -- an empty lane holds nothing, whatever was miscounted before
else
  redis.call('DECRBY', load, tonumber(fields['cost'] or '0') or 0)
end
return 1
