import { parseImportedHash } from '../admission/imported-hash.ts'
import { username as usernameSchema } from '../tenancy/model/words.ts'
import type { BundleDraft } from './bundle.ts'
import { linesOf } from './source-file.ts'

/** Reads lines of `username:hash`; the hash is one of `$6$` and `$7$`. */
export function readPasswordFile(draft: BundleDraft, path: string, text: string): void {
  const found = new Map<string, { at: string; hash: string }>()
  for (const { at, text: line } of linesOf(path, text)) {
    const end = line.indexOf(':')
    const [name, hash] = [line.slice(0, end), line.slice(end + 1)]
    const why = end < 1 ? undefined : whyNot(name, hash)
    if (end < 1) draft.leftOut(at, 'not `username:hash`')
    else if (why !== undefined) draft.leftOut(at, `user ${name}: ${why}`)
    else {
      const before = found.get(name)
      if (before !== undefined) draft.leftOut(before.at, `user ${name}: is there again, and the last line counts`)
      found.set(name, { at, hash })
    }
  }
  for (const [username, { hash }] of found) draft.users.push({ username, hash })
}

function whyNot(name: string, hash: string): string | undefined {
  if (!usernameSchema.safeParse(name).success) {
    return 'the name is longer than 256 characters or has control characters'
  }
  if (parseImportedHash(hash) !== undefined) return undefined
  return hash.startsWith('$')
    ? 'the hash is of no known form, or asks for more than 1,000,000 rounds'
    : 'the password is not hashed; Mosquitto hashes a whole file with `mosquitto_passwd -U`'
}
