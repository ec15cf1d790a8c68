-- Schedules the next attempt for a claimed report, unless it was scheduled again after the claim.
-- KEYS[1]  sorted set: study -> time at which its report is due (Unix seconds)
-- KEYS[2]  hash: study -> failed attempts
-- ARGV[1]  study
-- ARGV[2]  time at which the claim expires, as given to claim.lua
-- ARGV[3]  time of the next attempt (Unix seconds)
-- Returns the number of failed attempts, or 0 if nothing was changed.
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[2]) then return 0 end
redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
return redis.call('hincrby', KEYS[2], ARGV[1], 1)
