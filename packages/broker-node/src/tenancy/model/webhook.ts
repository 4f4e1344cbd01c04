import { z } from 'zod'
import { recordId, timeMs, title } from './words.ts'

/** What a webhook can be told. */
export const webhookEvent = z.enum(['client.connected', 'client.disconnected', 'message.published'])

/** An address that is told about events, signed. */
export const webhook = z.strictObject({
  id: recordId,
  name: title,
  isEnabled: z.boolean().default(true),
  url: z.url({ protocol: /^https?$/ }).max(2048),
  /** Signs each request by HMAC-SHA256. */
  secret: z.string().min(16).max(256),
  events: z.array(webhookEvent).min(1),
  /** Topic Filter for `message.published`. */
  topicFilter: z.string().max(4096).optional(),
  createdAtMs: timeMs,
})

/** See {@link webhook}. */
export type Webhook = z.infer<typeof webhook>
