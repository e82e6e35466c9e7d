-- One write to a key together with its life: a process that dies between the two would leave a key for ever.
-- KEYS: key. ARGV: life (s), command, its arguments behind the key. Answers what the command does.
local answer = redis.call(ARGV[2], KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return answer
