-- Delete what is kept of a request beside its record, at once. Who reads its events has a second for the rest of them.
-- KEYS: events, then those that go now.
redis.call('EXPIRE', KEYS[1], 1)
redis.call('DEL', unpack(KEYS, 2))
