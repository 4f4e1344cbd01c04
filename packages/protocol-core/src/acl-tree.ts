import { type AclIdentity, type AclRule, expandAclPattern, isTemplate } from './acl.ts'
import { filterCovers, filtersOverlap, matches } from './topic-filter.ts'

/** Rules that a node keeps in one list before it sorts them by their next level. */
const LIST_RULES_MAX = 16

/** Is shown rules that may concern what was asked for. @returns true when it has seen enough */
export type RuleVisitor = (rule: AclRule) => boolean

class AclNode {
  /** Rules that are not sorted any further; those with nothing but `#` to follow stay here. */
  list: AclRule[] = []
  /** By the text of the next level as it stands in the pattern. */
  children: Map<string, AclNode> | undefined = undefined
  /** The keys of `children` that names are put into. */
  templates: Set<string> | undefined = undefined
}

/**
 * Rules, found by topic: as many as there may be, a question looks at few of them. A handful costs one list.
 *
 * A walk down the levels narrows the choice, and every rule on the way is then compared as a whole; so a walk may show
 * too many rules to the comparison, and never too few.
 */
export class AclTree {
  private readonly root = new AclNode()
  private count = 0
  private conditional = 0
  private denying = 0

  get size(): number {
    return this.count
  }

  /** True while some rule looks at QoS or RETAIN. */
  get hasConditions(): boolean {
    return this.conditional > 0
  }

  get hasDenials(): boolean {
    return this.denying > 0
  }

  /** @param rule - its pattern accepted by `checkAclPattern` */
  add(rule: AclRule): void {
    this.note(rule, 1)
    const levels = rule.pattern.split('/')
    let node = this.root
    let depth = 0
    while (node.children !== undefined) {
      const next = childFor(node, node.children, levels[depth])
      if (next === undefined) break
      node = next
      depth++
    }
    node.list.push(rule)
    if (node.children === undefined && node.list.length > LIST_RULES_MAX) sortByLevel(node, depth)
  }

  /** @param rule - the same object that was added */
  remove(rule: AclRule): void {
    if (removeBelow(this.root, rule, rule.pattern.split('/'), 0)) this.note(rule, -1)
  }

  /** Shows the rules that match a topic name. */
  visitMatching(topicName: string, identity: AclIdentity, visit: RuleVisitor): boolean {
    const levels = topicName.split('/')
    const isSystem = topicName.startsWith('$')
    const show = shownIf(identity, visit, pattern => matches(topicName, pattern))
    const look = (node: AclNode, depth: number): boolean => {
      if (node.list.some(show)) return true
      const level = levels[depth]
      if (node.children === undefined || level === undefined) return false
      const plus = depth === 0 && isSystem ? undefined : node.children.get('+')
      if (plus !== undefined && look(plus, depth + 1)) return true
      return someNamed(node, { level, depth, identity }, child => look(child, depth + 1))
    }
    return look(this.root, 0)
  }

  /** Shows the rules that match every topic name which the filter matches; some of those are left out. */
  visitCovering(topicFilter: string, identity: AclIdentity, visit: RuleVisitor): boolean {
    const levels = topicFilter.split('/')
    const show = shownIf(identity, visit, pattern => filterCovers(pattern, topicFilter))
    const look = (node: AclNode, depth: number): boolean => {
      if (node.list.some(show)) return true
      const level = levels[depth]
      if (node.children === undefined || level === undefined || level === '#') return false
      const plus = node.children.get('+')
      if (plus !== undefined && look(plus, depth + 1)) return true
      if (level === '+') return false
      return someNamed(node, { level, depth, identity }, child => look(child, depth + 1))
    }
    return look(this.root, 0)
  }

  /** Shows the rules that match some topic name which the filter matches too. */
  visitOverlapping(topicFilter: string, identity: AclIdentity, visit: RuleVisitor): boolean {
    const levels = topicFilter.split('/')
    const show = shownIf(identity, visit, pattern => filtersOverlap(pattern, topicFilter))
    const look = (node: AclNode, depth: number): boolean => {
      if (node.list.some(show)) return true
      const level = depth < levels.length ? levels[depth] : levels.at(-1) === '#' ? '#' : undefined
      if (node.children === undefined || level === undefined) return false
      if (level === '+' || level === '#') {
        for (const child of node.children.values()) if (look(child, depth + 1)) return true
        return false
      }
      const plus = node.children.get('+')
      if (plus !== undefined && look(plus, depth + 1)) return true
      return someNamed(node, { level, depth, identity }, child => look(child, depth + 1))
    }
    return look(this.root, 0)
  }

  private note(rule: AclRule, by: 1 | -1): void {
    this.count += by
    if (rule.qos !== undefined || rule.retain !== undefined) this.conditional += by
    if (rule.effect === 'deny') this.denying += by
  }
}

/** @returns a visitor that shows a rule only when its pattern, with the identity in it, fits */
function shownIf(identity: AclIdentity, visit: RuleVisitor, fits: (pattern: string) => boolean): RuleVisitor {
  return rule => {
    const pattern = expandAclPattern(rule.pattern, identity)
    return pattern !== undefined && fits(pattern) && visit(rule)
  }
}

/** @returns whether `look` has seen enough in a child whose level is, or may stand for, this text */
function someNamed(
  node: AclNode,
  { level, depth, identity }: { level: string; depth: number; identity: AclIdentity },
  look: (child: AclNode) => boolean,
): boolean {
  const literal = node.children?.get(level)
  if (literal !== undefined && look(literal)) return true
  for (const template of node.templates ?? []) {
    const child = node.children?.get(template)
    if (child === undefined || child === literal) continue
    if (expandAclPattern(template, identity, depth === 0) === level && look(child)) return true
  }
  return false
}

/** @returns `undefined` for a rule that stays at the node */
function childFor(node: AclNode, children: Map<string, AclNode>, level: string | undefined): AclNode | undefined {
  if (level === undefined || level === '#') return undefined
  let child = children.get(level)
  if (child === undefined) {
    child = new AclNode()
    children.set(level, child)
    if (isTemplate(level)) {
      node.templates ??= new Set()
      node.templates.add(level)
    }
  }
  return child
}

function sortByLevel(node: AclNode, depth: number): void {
  const rules = node.list
  const children = new Map<string, AclNode>()
  node.children = children
  node.list = []
  for (const rule of rules) {
    const child = childFor(node, children, rule.pattern.split('/')[depth])
    if (child === undefined) node.list.push(rule)
    else child.list.push(rule)
  }
  for (const child of children.values()) if (child.list.length > LIST_RULES_MAX) sortByLevel(child, depth + 1)
}

/** @returns whether the rule was there */
function removeBelow(node: AclNode, rule: AclRule, levels: readonly string[], depth: number): boolean {
  const at = node.list.indexOf(rule)
  if (at >= 0) {
    node.list.splice(at, 1)
    return true
  }
  const level = levels[depth]
  const child = level === undefined ? undefined : node.children?.get(level)
  if (level === undefined || child === undefined || !removeBelow(child, rule, levels, depth + 1)) return false
  if (child.list.length === 0 && (child.children?.size ?? 0) === 0) {
    node.children?.delete(level)
    node.templates?.delete(level)
  }
  return true
}
