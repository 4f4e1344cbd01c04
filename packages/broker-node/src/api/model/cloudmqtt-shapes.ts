import { z } from 'zod'
import { instance } from '../../tenancy/model/instance.ts'
import { password, recordId, title, topicPattern, username } from '../../tenancy/model/words.ts'

// Forms of CloudMQTT's HTTP API. Fields that are not known are left alone, and forms send everything as text.

const flag = z.union([z.boolean(), z.stringbool()])

/** `POST /instances`. */
export const cloudNewInstance = z.object({
  name: title,
  plan: recordId,
  region: instance.shape.region.unwrap().exactOptional(),
  tags: instance.shape.tags.unwrap().exactOptional(),
})

/** `PUT /instances/:id`. */
export const cloudInstanceChange = z.object({
  name: title.exactOptional(),
  plan: recordId.exactOptional(),
  tags: instance.shape.tags.unwrap().exactOptional(),
})

/** `POST /user`, and `PUT /user` with the name in the body. */
export const cloudUser = z.object({ username, password })

/** `PUT /user/:name`; one client library sends the password and nothing around it. */
export const cloudPassword = z.union([z.object({ password }), password.transform(text => ({ password: text }))])

/** What tells a rule; `topic` is how clients before 2018 call the pattern, and they know no other type. */
const ruleIdentity = {
  type: z.enum(['topic', 'pattern']).nullish(),
  username: z.preprocess(value => (value === '' ? null : value), username.nullish()),
  pattern: topicPattern.nullish(),
  topic: topicPattern.nullish(),
}

interface SentIdentity {
  type?: 'topic' | 'pattern' | null | undefined
  username?: string | null | undefined
  pattern?: string | null | undefined
  topic?: string | null | undefined
}

/** A rule as both forms name it. */
export interface CloudRuleIdentity {
  type: 'topic' | 'pattern'
  username: string | undefined
  pattern: string
}

function identityOf(sent: SentIdentity, context: z.RefinementCtx): CloudRuleIdentity {
  const pattern = sent.pattern ?? sent.topic ?? undefined
  const name = sent.username ?? undefined
  const type = sent.type ?? (name === undefined ? 'pattern' : 'topic')
  if (pattern === undefined) context.addIssue({ code: 'custom', path: ['pattern'], message: 'is missing' })
  if (type === 'topic' && name === undefined)
    context.addIssue({ code: 'custom', path: ['username'], message: 'is missing' })
  return { type, username: type === 'topic' ? name : undefined, pattern: pattern ?? '' }
}

/** `POST /acl` and `PUT /acl/:id`. */
export const cloudRule = z
  .object({ ...ruleIdentity, read: flag.default(false), write: flag.default(false) })
  .transform((sent, context) => ({ ...identityOf(sent, context), read: sent.read, write: sent.write }))

/** `DELETE /acl`. */
export const cloudRuleName = z.object(ruleIdentity).transform(identityOf)

/** Query of lists. */
export const cloudListQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(1000),
  page: z.coerce.number().int().min(1).max(100_000).default(1),
  query: z.string().max(256).default(''),
})

/** `:id` of an instance in a path. */
export const cloudNumber = z.coerce.number().int().min(1)
