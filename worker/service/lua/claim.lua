-- Claims a study that is due: no other process gets it until the claim expires.
-- KEYS[1]  sorted set: study -> time at which it is due (Unix seconds)
-- KEYS[2]  hash: study -> value
-- ARGV[1]  study
-- ARGV[2]  now (Unix seconds)
-- ARGV[3]  time at which the claim expires (Unix seconds)
-- Returns the study's value ('' if it has none), or false if the study is not due.
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[2]) then return false end
redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
return redis.call('hget', KEYS[2], ARGV[1]) or ''
