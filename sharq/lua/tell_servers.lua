-- Publishes a message to a server, or to all.
-- KEYS: probe
-- ARGV: channel message
-- Returns: how many have heard it on this node
return redis.call('PUBLISH', ARGV[1], ARGV[2])
