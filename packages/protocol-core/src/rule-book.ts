import type { AclRule } from './acl.ts'
import { AclTree } from './acl-tree.ts'

/** A rule with its name, and whom it is for. */
export interface NamedRule extends AclRule {
  readonly id: string
  /** `topic`: of one user. `pattern`: of all that have a name. `anonymous`: of those that send none. */
  readonly type: 'topic' | 'pattern' | 'anonymous'
  /** With `topic`, and only then. */
  readonly username?: string | undefined
}

interface UserRules {
  readonly own: AclTree
  readonly trees: readonly AclTree[]
}

/** The rules of one instance, found by user: a change costs what it changes, however many rules there are. */
export class RuleBook {
  private readonly rules = new Map<string, NamedRule>()
  private readonly users = new Map<string, UserRules>()
  private readonly patterns = new AclTree()
  private readonly anonymous = new AclTree()
  private readonly forNamed: readonly AclTree[] = [this.patterns]
  private readonly forNameless: readonly AclTree[] = [this.anonymous]

  get size(): number {
    return this.rules.size
  }

  find(id: string): NamedRule | undefined {
    return this.rules.get(id)
  }

  /** Adds a rule, or replaces the one of this id. @param rule - its pattern accepted by `checkAclPattern` */
  put(rule: NamedRule): void {
    this.remove(rule.id)
    this.rules.set(rule.id, rule)
    this.treeFor(rule).add(rule)
  }

  remove(id: string): void {
    const rule = this.rules.get(id)
    if (rule === undefined) return
    this.rules.delete(id)
    const tree = this.treeFor(rule)
    tree.remove(rule)
    if (rule.username !== undefined && rule.type === 'topic' && tree.size === 0) this.users.delete(rule.username)
  }

  clear(): void {
    for (const id of [...this.rules.keys()]) this.remove(id)
  }

  /** The rules for a name, `undefined` for those that send none. The same array for as long as the user has any. */
  of(username: string | undefined): readonly AclTree[] {
    if (username === undefined) return this.forNameless
    return this.users.get(username)?.trees ?? this.forNamed
  }

  private treeFor({ type, username }: NamedRule): AclTree {
    if (type === 'anonymous') return this.anonymous
    if (type === 'pattern' || username === undefined) return this.patterns
    let user = this.users.get(username)
    if (user === undefined) {
      const own = new AclTree()
      user = { own, trees: [own, this.patterns] }
      this.users.set(username, user)
    }
    return user.own
  }
}
