-- Forgets a share group.
-- KEYS  1 group queue  2 group record  3 members that hold something  then what each member holds; all {p<K>}
-- Returns the count of removed keys
return redis.call('DEL', unpack(KEYS))
