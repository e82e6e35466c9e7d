-- How many requests are served before one that waits, or -1 where it does not wait. O(log n) in the queue: its rank in
-- its lane's set of waiting entries, and the sizes of those of the lanes served before it.
-- KEYS: its lane's waiting set, then those of the lanes served before it. ARGV: entry id.
local before = redis.call('ZRANK', KEYS[1], ARGV[1])
if not before then return -1 end
for i = 2, #KEYS do before = before + redis.call('ZCARD', KEYS[i]) end
return before
