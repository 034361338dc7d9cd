-- Shows that the store runs scripts, and returns its clock.
-- KEYS: probe
-- ARGV:
-- Returns: the store's time in ms
--@include clock
return now
