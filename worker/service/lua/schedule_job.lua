-- Schedules a job. It replaces an earlier job of the same study, but keeps that one's request to
-- regrade and its priority if that is higher (a smaller number).
-- KEYS[1]  sorted set: study -> time at which its job is due (Unix seconds)
-- KEYS[2]  hash: study -> job as JSON
-- ARGV[1]  study
-- ARGV[2]  time at which the job is due (Unix seconds)
-- ARGV[3]  job as JSON
local job, earlier = cjson.decode(ARGV[3]), redis.call('hget', KEYS[2], ARGV[1])
if earlier then
  earlier = cjson.decode(earlier)
  job.regrade = job.regrade or earlier.regrade
  job.priority = math.min(job.priority, earlier.priority)
end
redis.call('hset', KEYS[2], ARGV[1], cjson.encode(job))
redis.call('zadd', KEYS[1], ARGV[2], ARGV[1])
