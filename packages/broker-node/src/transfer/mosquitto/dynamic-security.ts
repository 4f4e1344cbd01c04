import { BrokerError, checkAclPattern } from '@midge/protocol-core'
import { z } from 'zod'
import { parseImportedHash } from '../../admission/imported-hash.ts'
import { username } from '../../tenancy/model/words.ts'
import type { BundleDraft, MovedRule } from '../bundle.ts'

const priority = z.number().default(-1)
const roleRefs = z.array(z.object({ rolename: z.string(), priority })).default([])
const acl = z.object({ acltype: z.string(), topic: z.string(), priority: z.number().default(0), allow: z.boolean() })
const dynamicSecurity = z.object({
  defaultACLAccess: z
    .object({
      publishClientSend: z.boolean().default(false),
      publishClientReceive: z.boolean().default(true),
      subscribe: z.boolean().default(false),
    })
    .default({ publishClientSend: false, publishClientReceive: true, subscribe: false }),
  clients: z
    .array(
      z.object({
        username: z.string(),
        password: z.string().optional(),
        salt: z.string().optional(),
        iterations: z.number().optional(),
        clientid: z.string().optional(),
        disabled: z.boolean().default(false),
        roles: roleRefs,
      }),
    )
    .default([]),
  groups: z
    .array(
      z.object({
        groupname: z.string(),
        roles: roleRefs,
        clients: z.array(z.object({ username: z.string(), priority })).default([]),
      }),
    )
    .default([]),
  roles: z.array(z.object({ rolename: z.string(), acls: z.array(acl).default([]) })).default([]),
  anonymousGroup: z.string().optional(),
})

type DynamicSecurity = z.output<typeof dynamicSecurity>
type DynamicClient = DynamicSecurity['clients'][number]
type Acl = z.output<typeof acl>
type Who = Pick<MovedRule, 'type' | 'username'>

const DEFAULT_PRIORITY = 100_000
const STRICTER = 'is no exception from what other lines of publishClientReceive deny'

/**
 * Reads the JSON of the dynamic security plug-in. Roles and groups are flattened: each user gets the rules that its
 * roles come to, in the order in which the plug-in asks them.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for what is not such a file
 */
export function readDynamicSecurity(draft: BundleDraft, path: string, text: string): void {
  new DynamicReader(draft, path, parse(path, text)).read()
}

function parse(path: string, text: string): DynamicSecurity {
  try {
    return dynamicSecurity.parse(JSON.parse(text))
  } catch (cause) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${path} is no file of the dynamic security plug-in`, { cause })
  }
}

class DynamicReader {
  private readonly draft: BundleDraft
  private readonly path: string
  private readonly file: DynamicSecurity
  private readonly isReceiveOpen: boolean

  constructor(draft: BundleDraft, path: string, file: DynamicSecurity) {
    this.draft = draft
    this.path = path
    this.file = file
    this.isReceiveOpen = file.defaultACLAccess.publishClientReceive
  }

  read(): void {
    const { file, draft, path } = this
    for (const client of file.clients) {
      if (!this.addUser(client)) continue
      this.addRules({ type: 'topic', username: client.username }, this.aclsOf(client))
    }
    if (file.anonymousGroup !== undefined && file.anonymousGroup !== '') {
      this.addRules({ type: 'anonymous' }, this.aclsOfGroup(file.anonymousGroup))
    }
    this.addDefaults()
    draft.differs(path, 'roles and groups: each user has rules of its own, which change one by one from then on')
    draft.differs(
      path,
      'one rule decides on SUBSCRIBE and on what is received; the plug-in asks twice, and the stricter answer is taken',
    )
  }

  private addUser({ username: name, clientid, disabled, ...proof }: DynamicClient): boolean {
    const { draft } = this
    const at = `${this.path}, client ${name}`
    const hash =
      proof.password === undefined ? undefined : `$7$${proof.iterations ?? 0}$${proof.salt ?? ''}$${proof.password}`
    if (!username.safeParse(name).success) {
      draft.leftOut(at, 'the name is empty, longer than 256 characters or has control characters')
      return false
    }
    if (hash === undefined) draft.differs(at, 'has no password, so it cannot log in with one here either')
    else if (parseImportedHash(hash) === undefined) {
      draft.leftOut(at, 'the hash of the password is of no known form, or asks for more than 1,000,000 rounds')
      return false
    }
    if (clientid !== undefined) draft.differs(at, `is not bound to the client id ${clientid} here`)
    draft.users.push({ username: name, hash, isEnabled: !disabled })
    return true
  }

  /** Those of its own roles come first, then those of its groups; what has the higher priority is asked first. */
  private aclsOf({ username: name, roles }: DynamicClient): Acl[] {
    // Members are written down with the group only.
    const memberships = this.file.groups.flatMap(({ groupname, clients }) =>
      clients.filter(client => client.username === name).map(client => ({ groupname, priority: client.priority })),
    )
    return [...this.aclsOfRoles(roles), ...falling(memberships).flatMap(({ groupname }) => this.aclsOfGroup(groupname))]
  }

  private aclsOfGroup(name: string): Acl[] {
    return this.aclsOfRoles(this.file.groups.find(({ groupname }) => groupname === name)?.roles ?? [])
  }

  private aclsOfRoles(refs: z.output<typeof roleRefs>): Acl[] {
    return falling(refs).flatMap(({ rolename }) =>
      falling(this.file.roles.find(role => role.rolename === rolename)?.acls ?? []),
    )
  }

  private addRules(who: Who, acls: readonly Acl[]): void {
    // A message has to pass both questions, so what either denies is denied before what one of them allows.
    const isOther = ({ acltype }: Acl): boolean =>
      this.isReceiveOpen ? acltype === 'publishClientReceive' : acltype.startsWith('subscribe')
    const ordered = [...acls.filter(isOther), ...acls.filter(row => !isOther(row))]
    const hasDenials = acls.some(row => isOther(row) && !row.allow)
    for (const [index, { acltype, topic, allow }] of ordered.entries()) {
      const at = `${this.path}, ${acltype} ${topic} of ${who.username ?? 'anonymous clients'}`
      const why = this.whyNot({ acltype, topic, allow }, hasDenials)
      if (why === undefined) {
        const write = acltype === 'publishClientSend'
        const effect = allow ? 'allow' : 'deny'
        this.draft.rules.push({ ...who, pattern: topic, read: !write, write, effect, priority: index })
      } else if (why !== '') this.draft.leftOut(at, why)
    }
  }

  /** @returns `''` for what has no meaning here and needs no word */
  private whyNot({ acltype: type, topic, allow }: Omit<Acl, 'priority'>, hasDenials: boolean): string | undefined {
    if (type.startsWith('unsubscribe')) return allow ? '' : 'everybody may unsubscribe here'
    if (checkAclPattern(topic) !== 0) return 'is no Topic Filter that a rule may have'
    if (/%[uc]/.test(topic)) return '%u and %c stand for themselves there, and here for username and client id'
    if (type === 'subscribeLiteral' && /[+#]/.test(topic)) return 'a rule cannot be about the text of a Topic Filter'
    if (type === 'publishClientReceive' && allow && this.isReceiveOpen) return hasDenials ? STRICTER : ''
    if (type.startsWith('subscribe') && !this.isReceiveOpen) {
      return allow ? 'what may be received is decided by publishClientReceive alone' : undefined
    }
    return undefined
  }

  private addDefaults(): void {
    const { publishClientSend: write, subscribe } = this.file.defaultACLAccess
    const read = this.isReceiveOpen && subscribe
    if (!read && !write) return
    for (const type of ['pattern', 'anonymous'] as const) {
      this.draft.rules.push({ type, pattern: '#', read, write, effect: 'allow', priority: DEFAULT_PRIORITY })
    }
  }
}

/** The highest priority first; equal ones stay as they are. */
function falling<T extends { readonly priority: number }>(rows: readonly T[]): T[] {
  return [...rows].sort((a, b) => b.priority - a.priority)
}
