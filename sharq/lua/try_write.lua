-- Shows that a node takes writes, by a removal of what is never there: a node that takes none refuses
-- it all the same.
-- KEYS: write
-- ARGV:
-- Returns: the store's time in ms
--@include clock
redis.call('DEL', KEYS[1])
return now
