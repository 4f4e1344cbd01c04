import { createHash } from 'node:crypto'
import type { Rule } from '../../tenancy/model/rule.ts'
import type { Tenancy } from '../../tenancy/tenancy.ts'
import type { CloudRuleIdentity } from '../model/cloudmqtt-shapes.ts'

/** Rules that are looked through. */
const RULES_MAX = 200_000

/** What CloudMQTT can say: rules that allow, of one user or of all. */
export function cloudRulesOf({ rules }: Tenancy, instance: string, username?: string): Rule[] {
  return rules.list(instance, { countMax: RULES_MAX }, username).items.filter(isSayable)
}

/** The rules that a client means. */
export function rulesNamed(tenancy: Tenancy, instance: string, { type, username, pattern }: CloudRuleIdentity): Rule[] {
  return cloudRulesOf(tenancy, instance, username).filter(
    rule => rule.type === type && rule.username === username && rule.pattern === pattern,
  )
}

/** The rule with an id, or with the number that CloudMQTT's clients know it by. */
export function ruleById(tenancy: Tenancy, instance: string, id: string): Rule | undefined {
  const rule = tenancy.rules.find(instance, id)
  if (rule !== undefined) return isSayable(rule) ? rule : undefined
  if (!/^\d{1,10}$/.test(id)) return undefined
  const alike = cloudRulesOf(tenancy, instance).filter(each => ruleNumber(each.id) === Number(id))
  return alike.length === 1 ? alike[0] : undefined
}

/** Clients of CloudMQTT keep the id of a rule in 31 bits. */
export function ruleNumber(id: string): number {
  return createHash('sha256').update(id).digest().readUInt32BE(0) >>> 1
}

function isSayable({ type, effect }: Rule): boolean {
  return effect === 'allow' && type !== 'anonymous'
}
