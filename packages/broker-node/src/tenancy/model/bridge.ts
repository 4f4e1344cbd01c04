import { z } from 'zod'
import { hostName, recordId, timeMs, title, username } from './words.ts'

/** One line of topics; prefixes are put before the pattern on their side. */
export const bridgeTopic = z.strictObject({
  /** Topic Filter; empty when the prefixes are whole topics. */
  pattern: z.string().max(4096),
  direction: z.enum(['in', 'out', 'both']),
  qos: z.literal([0, 1, 2]).default(0),
  localPrefix: z.string().max(4096).default(''),
  remotePrefix: z.string().max(4096).default(''),
})

/** A connection to another broker, in Mosquitto's words. */
export const bridge = z.strictObject({
  id: recordId,
  name: title,
  isEnabled: z.boolean().default(true),
  host: hostName,
  port: z.number().int().min(1).max(65_535).default(1883),
  tls: z
    .strictObject({
      /** PEM; absent means the authorities of the system. */
      ca: z.string().max(65_536).optional(),
      cert: z.string().max(65_536).optional(),
      key: z.string().max(65_536).optional(),
      verifyHost: z.boolean().default(true),
    })
    .optional(),
  username: username.optional(),
  password: z.string().max(1024).optional(),
  clientId: z.string().max(128).optional(),
  protocol: z.literal([3, 4, 5]).default(4),
  cleanSession: z.boolean().default(false),
  keepAliveSeconds: z.number().int().min(5).max(65_535).default(60),
  tryPrivate: z.boolean().default(true),
  topics: z.array(bridgeTopic).min(1).max(64),
  createdAtMs: timeMs,
})

/** See {@link bridge}. */
export type Bridge = z.infer<typeof bridge>
