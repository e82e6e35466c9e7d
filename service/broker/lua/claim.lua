-- Put a value where there is none, or in place of one that is known. KEYS: claim. ARGV: value, known ('' for none), life
-- (s). Answers the value that stands there now.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return ARGV[1]
