import { z } from 'zod'
import { loginSource } from './login-source.ts'
import { hostName, instanceId, recordId, timeMs, title, username } from './words.ts'

/** How an instance treats its clients. */
export const instanceSettings = z.strictObject({
  logins: z
    .array(loginSource)
    .min(1)
    .max(8)
    .default([{ kind: 'certificate' }, { kind: 'users' }]),
  /** Protocol levels: 3 for 3.1, 4 for 3.1.1, 5. */
  protocols: z
    .array(z.literal([3, 4, 5]))
    .min(1)
    .default([3, 4, 5]),
  /** What somebody may do who got in without being a user that is kept here: everything, or what rules say. */
  unlistedUsers: z.enum(['everything', 'rules']).default('rules'),
})

/** One tenant. Topics, users, sessions and counters of instances never meet. */
export const instance = z.strictObject({
  id: instanceId,
  /** Of CloudMQTT's API, which knows numbers only. */
  number: z.number().int().min(1),
  name: title,
  plan: recordId,
  region: z.string().max(64).default('local'),
  tags: z.array(title).max(32).default([]),
  createdAtMs: timeMs,
  state: z.enum(['active', 'suspended']).default('active'),
  /** `P`: MQTT on `P`, TLS on `P` + 10000, WebSocket over TLS on `P` + 20000. `null` without ports of its own. */
  portBase: z.number().int().min(1024).max(45_535).nullable().default(null),
  /** Names by which TLS (SNI) and WebSocket (Host) find the instance. */
  hosts: z.array(hostName).max(16).default([]),
  /** The user that came with the instance; unrestricted. */
  defaultUser: username,
  settings: instanceSettings,
})

/** See {@link instance}. */
export type Instance = z.infer<typeof instance>
/** See {@link instanceSettings}. */
export type InstanceSettings = z.infer<typeof instanceSettings>
