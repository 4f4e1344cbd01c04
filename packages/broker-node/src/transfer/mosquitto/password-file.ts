import { parseImportedHash } from '../../admission/imported-hash.ts'
import { username } from '../../tenancy/model/words.ts'
import type { BundleDraft } from '../bundle.ts'
import { linesOf } from '../source-file.ts'

/** Reads what `mosquitto_passwd` writes: `username:hash`, the hash one of `$6$` and `$7$`. */
export function readPasswordFile(draft: BundleDraft, path: string, text: string): void {
  const seen = new Set<string>()
  for (const line of linesOf(path, text)) {
    const end = line.text.indexOf(':')
    const [name, hash] = [line.text.slice(0, end), line.text.slice(end + 1)]
    const why = end < 1 ? 'not `username:hash`' : whyNot(name, hash, seen)
    if (why === undefined) {
      seen.add(name)
      draft.users.push({ username: name, hash })
    } else {
      draft.leftOut(line.at, end < 1 ? why : `user ${name}: ${why}`)
    }
  }
}

function whyNot(name: string, hash: string, seen: ReadonlySet<string>): string | undefined {
  if (seen.has(name)) return 'is there a second time; Mosquitto takes the first line, too'
  if (!username.safeParse(name).success) return 'the name is longer than 256 characters or has control characters'
  if (parseImportedHash(hash) !== undefined) return undefined
  return hash.startsWith('$')
    ? 'the hash is of no known form, or asks for more than 1,000,000 rounds'
    : 'the password is not hashed; run `mosquitto_passwd -U` on a copy of the file first'
}
