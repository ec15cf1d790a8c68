-- Removes a claimed study, unless it was scheduled again after the claim.
-- KEYS[1]  sorted set: study -> time at which it is due (Unix seconds)
-- KEYS[2]  hash: study -> value
-- ARGV[1]  study
-- ARGV[2]  time at which the claim expires, as given to claim.lua
-- Returns 1 if the study was removed, else 0.
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[2]) then return 0 end
redis.call('zrem', KEYS[1], ARGV[1])
redis.call('hdel', KEYS[2], ARGV[1])
return 1
