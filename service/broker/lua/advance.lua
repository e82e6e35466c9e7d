-- Put a batch into another status, where it is in one that may come before it: of a cancel and an end at once, one holds.
-- KEYS: batch. ARGV: status, now (s), how many may come before it, these, then fields and values.
-- Answers the status that the batch has now, '' for one that is not there.
local batch, status, count = KEYS[1], ARGV[1], tonumber(ARGV[3])
local now = redis.call('HGET', batch, 'status')
if not now then return '' end
for i = 4, 3 + count do
  if ARGV[i] == now then
    redis.call('HSET', batch, 'status', status, 'at:' .. status, ARGV[2], unpack(ARGV, 4 + count))
    return status
  end
end
return now
