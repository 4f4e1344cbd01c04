import { z } from 'zod'
import { apiScope } from '../../tenancy/model/api-key.ts'
import { ban } from '../../tenancy/model/ban.ts'
import { instance, instanceSettings } from '../../tenancy/model/instance.ts'
import { plan, planLimits } from '../../tenancy/model/plan.ts'
import { rule } from '../../tenancy/model/rule.ts'
import { passwordProof, user } from '../../tenancy/model/user.ts'
import { webhook } from '../../tenancy/model/webhook.ts'
import {
  clientId,
  hostName,
  instanceId,
  password,
  recordId,
  timeMs,
  title,
  topicPattern,
  username,
} from '../../tenancy/model/words.ts'
import { pageQuery } from './paging.ts'

/** Entries of one request that creates many. */
export const BULK_ENTRIES_MAX = 1000
/** Rules that come into force in one write. */
const RULES_AT_ONCE_MAX = 900

/** Settings as they are changed: what is absent stays. */
const settingsChange = z.strictObject({
  logins: instanceSettings.shape.logins.unwrap().exactOptional(),
  protocols: instanceSettings.shape.protocols.unwrap().exactOptional(),
  unlistedUsers: instanceSettings.shape.unlistedUsers.unwrap().exactOptional(),
})

/** What creating an instance asks for. */
export const newInstance = z.strictObject({
  id: instanceId.optional().describe('Made up when absent.'),
  name: title,
  plan: recordId,
  region: instance.shape.region.unwrap().optional(),
  tags: instance.shape.tags.unwrap().optional(),
  hosts: instance.shape.hosts.unwrap().optional(),
  withPorts: z.boolean().optional().describe('True for ports of its own.'),
  settings: settingsChange.optional(),
})

/** What may be changed of an instance; `plan`, `state`, `region` and `hosts` by operators only. */
export const instanceChange = z.strictObject({
  name: title.optional(),
  plan: recordId.optional(),
  region: instance.shape.region.unwrap().optional(),
  tags: instance.shape.tags.unwrap().optional(),
  hosts: instance.shape.hosts.unwrap().optional(),
  state: instance.shape.state.unwrap().optional(),
  settings: settingsChange.optional(),
})

/** An instance as it is shown: secrets of its logins are left out. */
export const shownInstance = z.object({
  ...instance.shape,
  limits: z.object(planLimits.shape),
  settings: z.object({
    logins: z.array(z.looseObject({ kind: z.string() })).describe('Without `secret` and `authorization`.'),
    protocols: z.array(z.int()),
    unlistedUsers: z.string(),
  }),
})

/** What is shown once, when an instance is created. */
export const createdInstance = z.object({
  instance: shownInstance,
  username,
  password: z.string().describe('Shown once.'),
  apiKey: z.string().describe('Opens the API of this instance. Shown once.'),
})

/** A password that has just been made. */
export const freshLogin = z.object({ username, password: z.string().describe('Shown once.') })

/** A plan as it is put; its id is in the path. */
export const planBody = z.strictObject({ title, limits: planLimits })

/** A plan as it is shown. */
export const shownPlan = z.object({ ...plan.shape, limits: z.object(planLimits.shape) })

const userFields = {
  password: password.optional(),
  proof: passwordProof.optional().describe('What was made of a password elsewhere; instead of `password`.'),
  isUnrestricted: z.boolean().optional(),
  isEnabled: z.boolean().optional(),
  connectionsMax: z.int().min(1).nullable().optional(),
  note: z.string().max(256).optional(),
}

/** What creating a user asks for. */
export const newUser = z.strictObject({ username, ...userFields })

/** What may be changed of a user; absent stays. */
export const userChange = z.strictObject(userFields)

/** A user as it is shown: nothing of the password. */
export const shownUser = z.object({
  username,
  hasPassword: z.boolean(),
  isUnrestricted: user.shape.isUnrestricted.unwrap(),
  isEnabled: user.shape.isEnabled.unwrap(),
  connectionsMax: z.int().nullable(),
  note: z.string().optional(),
  createdAtMs: timeMs,
})

/** Many users at once. */
export const userImport = z.strictObject({
  users: z.array(newUser).min(1).max(BULK_ENTRIES_MAX),
  overwrite: z.boolean().default(false).describe('Change users that are there already.'),
})

/** What became of each user of an import. */
export const userImportResult = z.object({
  created: z.int(),
  changed: z.int(),
  failed: z.array(z.object({ username: z.string(), code: z.string(), detail: z.string() })),
})

/** What creating or replacing a rule asks for. */
export const ruleBody = z.strictObject({
  type: rule.shape.type,
  username: username.optional(),
  pattern: topicPattern,
  read: z.boolean().default(false),
  write: z.boolean().default(false),
  effect: rule.shape.effect.unwrap().optional(),
  priority: rule.shape.priority.unwrap().optional(),
  qos: rule.shape.qos,
  retain: rule.shape.retain,
})

/** One rule, or several that come into force together. */
export const newRules = z.union([ruleBody, z.array(ruleBody).min(1).max(RULES_AT_ONCE_MAX)])

/** A rule as it is shown. */
export const shownRule = z.object(rule.shape)

/** A question about rights. */
export const ruleQuestion = z.strictObject({
  username: username.optional().describe('Absent for a client without a username.'),
  clientId: clientId,
  topic: z.string().min(1).max(65_535).describe('Topic Name; for `subscribe` a Topic Filter.'),
  access: z.enum(['publish', 'subscribe', 'receive']),
  qos: z.literal([0, 1, 2]).default(0),
  retain: z.boolean().default(false),
})

/** The answer, and why. */
export const ruleAnswer = z.object({
  allowed: z.boolean(),
  rule: shownRule.optional().describe('The rule that decides.'),
  reason: z.string(),
})

/** Which template to take, and for whom. */
export const templateUse = z.strictObject({ template: z.string().max(64), username: username.optional() })

/** A template of rules. */
export const shownTemplate = z.object({ id: z.string(), title: z.string(), needsUsername: z.boolean() })

/** What creating a key asks for. */
export const newApiKey = z.strictObject({
  label: title,
  scope: apiScope,
  instance: instanceId.optional(),
  expiresAtMs: timeMs.optional(),
})

/** What creating a key of one instance asks for. */
export const newInstanceKey = z.strictObject({
  label: title,
  scope: z.enum(['instance:read', 'instance:write']),
  expiresAtMs: timeMs.optional(),
})

/** A key as it is shown: neither key nor hash. */
export const shownApiKey = z.object({
  id: recordId,
  label: title,
  scope: apiScope,
  instance: instanceId.optional(),
  createdAtMs: timeMs,
  expiresAtMs: timeMs.optional(),
})

/** A key that has just been made. */
export const freshKey = z.object({ apiKey: shownApiKey, key: z.string().describe('Shown once.') })

/** What creating a ban asks for. */
export const newBan = z.strictObject({
  kind: ban.shape.kind,
  value: ban.shape.value,
  reason: ban.shape.reason,
  untilMs: timeMs.optional(),
})

/** A ban as it is shown. */
export const shownBan = z.object(ban.shape)

/** A webhook as it is put; its id is in the path. */
export const webhookBody = webhook
  .omit({ id: true, createdAtMs: true })
  .extend({ secret: webhook.shape.secret.optional() })

/** A webhook as it is shown: without its secret. */
export const shownWebhook = z.object(webhook.omit({ secret: true }).shape)

/** A line of the audit trail. */
export const shownAudit = z.object({
  atMs: timeMs,
  actor: z.object({ kind: z.string(), id: z.string(), address: z.string().optional() }),
  action: z.string(),
  instance: z.string().optional(),
  subject: z.string(),
})

/** What a key may do. */
export const whoAmI = z.object({ key: shownApiKey, node: z.string(), version: z.string() })

/** What clients need to connect. */
export const connectionDetails = z.object({
  host: z.string(),
  username,
  ports: z.array(z.object({ transport: z.enum(['tcp', 'tls', 'ws', 'wss']), port: z.int(), url: z.string() })),
  snippets: z.record(z.string(), z.string()).describe('Configuration of well-known clients; put the password in.'),
})

/** Where clients are to look for the cluster. */
export const hostQuery = z.strictObject({
  host: hostName.default('localhost').describe('Name of the cluster for clients.'),
})

/** Query of the list of users. */
export const userListQuery = pageQuery.extend({ prefix: z.string().max(256).optional().describe('Of the username.') })

/** Query of the list of rules. */
export const ruleListQuery = pageQuery.extend({ username: username.optional().describe('Only rules of this user.') })

/** Query of the list of keys. */
export const keyListQuery = pageQuery.extend({
  instance: instanceId.optional().describe('Only keys of this instance.'),
})

/** Rules that have been made. */
export const ruleList = z.object({ items: z.array(shownRule) })

/** All templates. */
export const templateList = z.object({ items: z.array(shownTemplate) })

/** All plans. */
export const planList = z.object({ items: z.array(shownPlan) })

/** All webhooks of an instance. */
export const webhookList = z.object({ items: z.array(shownWebhook) })
