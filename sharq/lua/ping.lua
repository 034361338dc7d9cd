-- Shows that the store runs scripts, and returns its clock.
-- KEYS:
-- ARGV:
-- Returns: the store's time in ms
--@include clock
return now
