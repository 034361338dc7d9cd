-- The number of waiting jobs of a queue, delayed ones included.
-- KEYS: void held queue
-- ARGV:
-- Returns: length
--@include queue load_queue open
check_open(KEYS[2])
return load_queue(KEYS[3]).waiting
