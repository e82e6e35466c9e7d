-- Forget the events of a run that ended, unless another one has written since: ids begin anew with each run, so the last
-- entry has to be the same whole. KEYS: events. ARGV: id of the last entry, its fields and values.
-- Answers 1 where they are gone.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return 1 end
if last[1] ~= ARGV[1] then return 0 end
for i, item in ipairs(last[2]) do
  if item ~= ARGV[i + 1] then return 0 end
end
return redis.call('DEL', KEYS[1])
