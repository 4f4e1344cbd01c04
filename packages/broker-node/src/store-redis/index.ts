export { checkRedis, type RedisWarning } from './check-redis.ts'
export { openRedisStore, RedisStore, type RedisStoreOptions } from './redis-store.ts'
