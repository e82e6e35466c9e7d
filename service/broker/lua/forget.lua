-- Forget the events of a run that ended, unless another one has written since. KEYS: events. ARGV: id of the last event.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] and last[1][1] == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
