-- Hand entries from one consumer to another (or to itself), setting how long they count as idle.
-- Refreshing is keeping one's own at idle 0; handing back is giving them away as long idle. Entries that meanwhile
-- belong to somebody else are left alone: a worker that was asleep must not steal back what was taken over.
-- KEYS: queue. ARGV: group, owner, new owner, idle (ms), life (s), entry ids. Answers the ids that were the owner's.
local queue, group, owner = KEYS[1], ARGV[1], ARGV[2]
local kept = {}
for i = 6, #ARGV do
  local mine = redis.pcall('XPENDING', queue, group, ARGV[i], ARGV[i], 1, owner)
  if not mine.err and #mine > 0 then
    redis.call('XCLAIM', queue, group, ARGV[3], 0, ARGV[i], 'IDLE', ARGV[4], 'JUSTID')
    kept[#kept + 1] = ARGV[i]
  end
end
redis.call('EXPIRE', queue, ARGV[5])
return kept
