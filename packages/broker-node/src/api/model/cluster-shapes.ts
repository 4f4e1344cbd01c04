import { z } from 'zod'
import { planLimits } from '../../tenancy/model/plan.ts'
import { clientId, timeMs } from '../../tenancy/model/words.ts'
import { pageQuery } from './paging.ts'

const qos = z.literal([0, 1, 2])
const optionalText = z.string().optional()

/** Messages of one bulk request. */
const PUBLISHES_MAX = 1000

/** A payload as it is shown: text where it is UTF-8, base64 otherwise. */
const shownPayload = {
  payload: z.string(),
  encoding: z.enum(['utf8', 'base64']),
  payloadBytes: z.int(),
}

/** An open connection. */
export const shownConnection = z.object({
  clientId: z.string(),
  username: optionalText,
  nodeId: z.string(),
  address: z.string(),
  port: z.int(),
  transport: z.enum(['tcp', 'tls', 'ws', 'wss']),
  protocol: z.int().describe('Protocol level: 3 for 3.1, 4 for 3.1.1, 5.'),
  keepAliveSeconds: z.int(),
  sessionExpirySeconds: z.int(),
  connectedAtMs: timeMs,
  subscriptionCount: z.int(),
})

/** A stored session. */
export const shownSession = z.object({
  clientId: z.string(),
  username: optionalText,
  nodeId: optionalText.describe('Where its client is connected.'),
  expirySeconds: z.int(),
  subscriptionCount: z.int(),
  queueMessages: z.int(),
  queueBytes: z.int(),
  inboundCount: z.int().describe('QoS 2 messages of the client that it has not released.'),
})

/** A message in the queue of a session. */
export const shownQueued = z.object({
  seq: z.int(),
  topic: z.string(),
  qos,
  retain: z.boolean(),
  ...shownPayload,
  isReleased: z.boolean().describe('PUBREC has come: only PUBREL is owed.'),
})

/** A subscription. */
export const shownSubscription = z.object({
  clientId: z.string(),
  topicFilter: z.string(),
  qos,
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  retainHandling: z.int(),
  subscriptionId: z.int().describe('0 for none.'),
})

/** A retained message. */
export const shownRetained = z.object({
  topic: z.string(),
  qos,
  ...shownPayload,
  expiresAtMs: timeMs.optional(),
})

/** Something that happened to a client. */
export const shownLog = z.object({
  id: z.string(),
  atMs: timeMs,
  nodeId: z.string(),
  event: z.string(),
  clientId: optionalText,
  username: optionalText,
  address: optionalText,
  text: z.string(),
})

/** The log as far as it is kept. */
export const logList = z.object({ items: z.array(shownLog) })

/** What an instance has now, and what its plan allows. */
export const shownStatistics = z.object({
  connections: z.int(),
  users: z.int(),
  rules: z.int(),
  limits: z.object(planLimits.shape).describe('`null` is unlimited.'),
})

/** A node of the cluster. */
export const shownNode = z.object({
  nodeId: z.string(),
  ready: z.boolean().describe('False as well for a node that does not answer; nothing more is known of it.'),
  version: optionalText,
  uptimeSeconds: z.number().optional(),
  connections: z.int().optional(),
  eventLoopLagMs: z.number().optional(),
})

/** All nodes. */
export const nodeList = z.object({ items: z.array(shownNode) })

/** Query of the list of subscriptions. */
export const subscriptionQuery = pageQuery.extend({
  clientId: clientId.optional().describe('Only those of this client.'),
})

const filterText = z.string().min(1).max(65_535)

/** Query of the list of retained messages. */
export const retainedQuery = pageQuery.extend({ filter: filterText.default('#').describe('Topic Filter.') })

/** Which retained messages are taken out. */
export const retainedExportQuery = z.strictObject({ filter: filterText.default('#').describe('Topic Filter.') })

/** One topic: slashes make it unfit for a path. */
export const topicQuery = z.strictObject({ topic: z.string().min(1).max(65_535) })

/** Which retained messages go; without it none would be meant, and all lost. */
export const retainedDeleteQuery = z.strictObject({
  filter: filterText.describe('Topic Filter, or one topic; `#` for all that do not begin with `$`.'),
})

/** Where the log goes on. */
export const logQuery = z.strictObject({
  since: z.string().min(1).max(256).optional().describe('`id` of the last entry that is known.'),
  limit: z.coerce.number().int().min(1).max(1000).default(1000),
})

/** One message. */
export const publishBody = z.strictObject({
  topic: z.string().min(1).max(65_535),
  payload: z.string().default(''),
  encoding: z.enum(['utf8', 'base64']).default('utf8'),
  qos: qos.default(0),
  retain: z.boolean().default(false),
  messageExpirySeconds: z.int().min(0).max(4_294_967_295).exactOptional(),
  contentType: z.string().max(65_535).exactOptional(),
  responseTopic: z.string().max(65_535).exactOptional(),
  correlationData: z.base64().exactOptional(),
  userProperties: z
    .array(z.tuple([z.string().max(65_535), z.string().max(65_535)]))
    .max(64)
    .exactOptional(),
})

/** Many messages; they are published in this order. */
export const bulkPublishBody = z.strictObject({ messages: z.array(publishBody).min(1).max(PUBLISHES_MAX) })

/** How many there were. */
export const countAnswer = z.object({ count: z.int() })

/** Lines of JSON, as an export has given them. */
export const exportedLines = z.string().min(1)

/** What was put in. */
export const importedSession = z.object({ clientId: z.string() })
