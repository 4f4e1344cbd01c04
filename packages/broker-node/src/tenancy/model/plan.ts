import { z } from 'zod'
import { recordId, title } from './words.ts'

const count = (max = Number.MAX_SAFE_INTEGER): z.ZodDefault<z.ZodNullable<z.ZodNumber>> =>
  z.number().int().min(0).max(max).nullable().default(null)

/** What an instance may use in the whole cluster; `null` is unlimited. Every name carries its unit. */
export const planLimits = z.strictObject({
  connections: count(),
  /** CONNECT packets a second; ten seconds' worth may come at once. */
  connectsPerSecond: count(),
  users: count(),
  rules: count(),
  bridges: count(),
  webhooks: count(),
  /** Sessions that outlive their connection. */
  sessions: count(),
  subscriptionsPerSession: count(),
  sessionExpirySeconds: count(4_294_967_295),
  retainedMessages: count(),
  retainedBytes: count(),
  /** Messages in the queue of one session. */
  queueMessages: count(),
  queueBytes: count(),
  packetBytes: count(268_435_460),
  /** From clients, and to clients. */
  messagesInPerSecond: count(),
  messagesOutPerSecond: count(),
  bytesInPerSecond: count(),
  bytesOutPerSecond: count(),
  /** Seconds' worth of the four rates above that may come at once, after as long a silence. */
  burstSeconds: z.number().int().min(1).max(86_400).default(10),
})

/** What may be bought under one name. */
export const plan = z.strictObject({
  id: recordId,
  title,
  limits: planLimits,
})

/** See {@link planLimits}. */
export type PlanLimits = z.infer<typeof planLimits>
/** See {@link plan}. */
export type PlanRecord = z.infer<typeof plan>
