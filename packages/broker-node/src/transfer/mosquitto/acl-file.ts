import { checkAclPattern } from '@midge/protocol-core'
import type { BundleDraft, MovedRule } from '../bundle.ts'
import { linesOf, type SourceLine } from '../source-file.ts'

/** Mosquitto asks its patterns when no line of the user's own fits, whichever of them deny. */
export const PATTERN_PRIORITY = 10

const ACCESS = /^(readwrite|read|write|deny)\s+/
const PLACEHOLDER = /%[uc]/

type Who = Pick<MovedRule, 'type' | 'username'>

/** Reads an `acl_file`: lines `user`, `topic` and `pattern`; what is before the first user is of anonymous clients. */
export function readAclFile(draft: BundleDraft, path: string, text: string): void {
  let who: Who = { type: 'anonymous' }
  for (const line of linesOf(path, text)) {
    const [, keyword = '', rest = ''] = /^\s*(\S+)\s*(.*)$/.exec(line.text) ?? []
    switch (keyword) {
      case 'user':
        who = { type: 'topic', username: rest }
        if (rest === '') draft.leftOut(line.at, 'a user without a name')
        break
      case 'topic':
        addTopic(draft, line, who, rest)
        break
      case 'pattern':
        addPattern(draft, line, rest)
        break
      default:
        draft.leftOut(line.at, `\`${keyword}\` is no line of an ACL file`)
    }
  }
  draft.differs(
    path,
    'Mosquitto accepts every SUBSCRIBE and holds messages back; here one that cannot bring anything is refused',
  )
}

function addTopic(draft: BundleDraft, line: SourceLine, who: Who, rest: string): void {
  const permission = permissionOf(draft, line, rest)
  if (permission === undefined || who.username === '') return
  if (PLACEHOLDER.test(permission.pattern)) {
    draft.leftOut(line.at, 'in a `topic` line %u and %c stand for themselves, and here for username and client id')
    return
  }
  draft.rules.push({ ...who, ...permission, priority: 0 })
}

function addPattern(draft: BundleDraft, line: SourceLine, rest: string): void {
  const permission = permissionOf(draft, line, rest)
  if (permission === undefined) return
  draft.rules.push({ type: 'pattern', ...permission, priority: PATTERN_PRIORITY })
  // A pattern with a username fits nobody that has none; every other is of all clients.
  if (permission.pattern.includes('%u')) return
  draft.rules.push({ type: 'anonymous', ...permission, priority: PATTERN_PRIORITY })
}

function permissionOf(
  draft: BundleDraft,
  line: SourceLine,
  rest: string,
): Pick<MovedRule, 'pattern' | 'read' | 'write' | 'effect'> | undefined {
  const access = ACCESS.exec(rest)
  const pattern = rest.slice(access?.[0].length ?? 0)
  if (pattern === '' || checkAclPattern(pattern) !== 0) {
    draft.leftOut(line.at, `\`${pattern}\` is no Topic Filter that a rule may have`)
    return undefined
  }
  const word = access?.[1] ?? 'readwrite'
  return {
    pattern,
    read: word !== 'write',
    write: word !== 'read',
    effect: word === 'deny' ? 'deny' : 'allow',
  }
}
