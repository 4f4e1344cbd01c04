import { type AclIdentity, type AclRule, rankOf } from './acl.ts'
import type { AclTree } from './acl-tree.ts'
import type { Qos } from './packet.ts'
import { parseShare } from './topic-filter.ts'

/** The rules that concern one name, and who asks. */
export interface AclCase {
  readonly trees: readonly AclTree[]
  readonly identity: AclIdentity
}

/** A PUBLISH as far as rules look at it. */
export interface Publication {
  topic: string
  qos: Qos
  retain: boolean
}

/** What rules decide about. `topic` of `subscribe` is a Topic Filter; `receive` is a message on its way to the client. */
export type AclQuestion =
  | ({ access: 'publish' } & Publication)
  | { access: 'subscribe'; topic: string; qos: Qos }
  | { access: 'receive'; topic: string }

/** What was decided, and by which rule; `undefined` when none fits, which denies. */
export interface AclDecision {
  allowed: boolean
  rule: AclRule | undefined
}

const EVERY_QOS: readonly Qos[] = [0, 1, 2]

/** The first rule that fits decides. */
export function decideAcl(who: AclCase, question: AclQuestion): AclDecision {
  switch (question.access) {
    case 'publish':
      return decisionOf(publishRule(who, question))
    case 'subscribe':
      return decideSubscribe(who, question.topic, question.qos)
    case 'receive':
      return decideReceive(who, question.topic)
  }
}

/** True when QoS and RETAIN make no difference to who may publish to a topic. */
export function publishesAlike(who: AclCase, topic: string): boolean {
  if (!hasConditions(who)) return true
  const answers = new Set<boolean>()
  for (const qos of EVERY_QOS) {
    for (const retain of [false, true]) answers.add(decisionOf(publishRule(who, { topic, qos, retain })).allowed)
  }
  return answers.size === 1
}

function publishRule(who: AclCase, { topic, qos, retain }: Publication): AclRule | undefined {
  return firstOf(
    who,
    topic,
    rule => rule.write && concerns(rule, qos) && (rule.retain === undefined || rule.retain === retain),
  )
}

/**
 * At which QoS a client has subscribed is not known on the way to it: it gets what it could have subscribed to at some
 * QoS.
 */
function decideReceive(who: AclCase, topicName: string): AclDecision {
  let decision: AclDecision = { allowed: false, rule: undefined }
  for (const qos of hasConditions(who) ? EVERY_QOS : EVERY_QOS.slice(0, 1)) {
    decision = decisionOf(firstOf(who, topicName, rule => rule.read && concerns(rule, qos)))
    if (decision.allowed) return decision
  }
  return decision
}

/**
 * Granted when the filter could bring anything that may be read; refused when all that it matches is denied before it
 * is allowed.
 */
function decideSubscribe({ trees, identity }: AclCase, topicFilter: string, qos: Qos): AclDecision {
  const wanted = parseShare(topicFilter)?.topicFilter ?? topicFilter
  let denial: AclRule | undefined
  for (const tree of trees) {
    if (!tree.hasDenials) continue
    tree.visitCovering(wanted, identity, rule => {
      if (rule.effect === 'deny' && rule.read && concerns(rule, qos)) denial = earlier(denial, rule)
      return false
    })
  }
  const bound = denial === undefined ? Number.POSITIVE_INFINITY : rankOf(denial)
  let grant: AclRule | undefined
  for (const tree of trees) {
    const isFound = tree.visitOverlapping(wanted, identity, rule => {
      const isGrant = rule.effect !== 'deny' && rule.read && concerns(rule, qos) && rankOf(rule) < bound
      if (isGrant) grant = rule
      return isGrant
    })
    if (isFound) break
  }
  return grant === undefined ? { allowed: false, rule: denial } : { allowed: true, rule: grant }
}

function firstOf(
  { trees, identity }: AclCase,
  topicName: string,
  fits: (rule: AclRule) => boolean,
): AclRule | undefined {
  let first: AclRule | undefined
  for (const tree of trees) {
    tree.visitMatching(topicName, identity, rule => {
      if (fits(rule)) first = earlier(first, rule)
      return false
    })
  }
  return first
}

function earlier(a: AclRule | undefined, b: AclRule): AclRule {
  return a !== undefined && rankOf(a) <= rankOf(b) ? a : b
}

function decisionOf(rule: AclRule | undefined): AclDecision {
  return { allowed: rule !== undefined && rule.effect !== 'deny', rule }
}

function concerns({ qos: ofRule }: AclRule, qos: Qos): boolean {
  return ofRule === undefined || ofRule.includes(qos)
}

function hasConditions({ trees }: AclCase): boolean {
  return trees.some(tree => tree.hasConditions)
}
