-- Counts what is held already; a name that is counted stays as it is.
-- KEYS  1 slots of a kind {q:<instance>}
-- ARGV  1 how many  then pairs: name, holder and claim
-- Returns 1
for i = 2, 2 * tonumber(ARGV[1]), 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
