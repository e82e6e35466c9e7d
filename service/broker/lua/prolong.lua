-- Let a file live longer, where its entry is what the caller read: a file that was deleted meanwhile does not come back.
-- KEYS: files, file. ARGV: id, entry as read, new entry, life of the file (s), its bytes. Answers 1 where it was done.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if redis.call('EXPIRE', KEYS[2], ARGV[4]) == 0 and ARGV[5] ~= '0' then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
