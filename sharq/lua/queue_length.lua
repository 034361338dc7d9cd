-- The number of waiting jobs of a queue, delayed ones included.
-- KEYS: void queue
-- ARGV:
-- Returns: length
--@include queue load_queue
return load_queue(KEYS[2]).waiting
