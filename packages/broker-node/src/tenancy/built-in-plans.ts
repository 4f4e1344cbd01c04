import { type PlanRecord, planLimits } from './model/plan.ts'

const MIB = 1024 * 1024

/** Plan of the instance `default`: its limits are those of the nodes. */
export const UNLIMITED_PLAN = 'unlimited'

/** The plans that are there without anybody having made them; a stored one of the same id takes the place. */
export const BUILT_IN_PLANS: readonly PlanRecord[] = [
  { id: UNLIMITED_PLAN, title: 'Unlimited', limits: planLimits.parse({}) },
  {
    id: 'cat',
    title: 'Cute Cat',
    limits: planLimits.parse({
      connections: 10,
      connectsPerSecond: 5,
      users: 10,
      rules: 20,
      bridges: 0,
      webhooks: 0,
      sessions: 20,
      retainedMessages: 2000,
      retainedBytes: 16 * MIB,
      packetBytes: MIB,
      // 20 kbit/s. The burst lets one message of 1 MiB and a start of Home Assistant through.
      bytesInPerSecond: 2500,
      bytesOutPerSecond: 2500,
      burstSeconds: 840,
    }),
  },
  {
    id: 'hedgehog',
    title: 'Humble Hedgehog',
    limits: planLimits.parse({
      connections: 25,
      connectsPerSecond: 10,
      users: 25,
      rules: 50,
      bridges: 3,
      webhooks: 3,
      sessions: 50,
      retainedMessages: 10_000,
      retainedBytes: 64 * MIB,
      packetBytes: 4 * MIB,
      // 100 kbit/s.
      bytesInPerSecond: 12_500,
      bytesOutPerSecond: 12_500,
      burstSeconds: 400,
    }),
  },
  {
    id: 'koala',
    title: 'Keen Koala',
    limits: planLimits.parse({
      connections: 100,
      connectsPerSecond: 50,
      users: 100,
      rules: 200,
      bridges: 10,
      webhooks: 10,
      sessions: 200,
      retainedMessages: 50_000,
      retainedBytes: 256 * MIB,
      // 1 Mbit/s.
      bytesInPerSecond: 125_000,
      bytesOutPerSecond: 125_000,
      burstSeconds: 120,
    }),
  },
  {
    id: 'leopard',
    title: 'Loud Leopard',
    limits: planLimits.parse({
      connections: 10_000,
      connectsPerSecond: 1000,
      sessions: 20_000,
      retainedMessages: 1_000_000,
      retainedBytes: 4096 * MIB,
    }),
  },
]
