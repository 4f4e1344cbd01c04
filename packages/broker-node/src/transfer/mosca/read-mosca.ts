import { BrokerError, checkAclPattern } from '@midge/protocol-core'
import { z } from 'zod'
import { hashOfMosca, parseImportedHash } from '../../admission/imported-hash.ts'
import { username } from '../../tenancy/model/words.ts'
import { type Bundle, BundleDraft } from '../bundle.ts'
import { readSource } from '../source-file.ts'

const credentials = z.record(
  z.string(),
  z.object({
    salt: z.string(),
    hash: z.string(),
    authorizePublish: z.string().default('**'),
    authorizeSubscribe: z.string().default('**'),
  }),
)

/**
 * Reads users and rules of a Mosca by the file that `mosca --credentials` writes.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for what cannot be read, or is not such a file
 */
export function readMosca(path: string): Bundle {
  const draft = new BundleDraft()
  for (const [name, user] of Object.entries(parse(path))) {
    const at = `${path}, user ${name}`
    const hash = hashOfMosca(user)
    if (!username.safeParse(name).success || parseImportedHash(hash) === undefined) {
      draft.leftOut(at, 'the name or the hash is of no form that is taken here')
      continue
    }
    draft.users.push({ username: name, hash })
    addRule(draft, { at, name, glob: user.authorizePublish, write: true })
    addRule(draft, { at, name, glob: user.authorizeSubscribe, write: false })
  }
  draft.differs(path, 'Mosca compares the Topic Filter of a SUBSCRIBE as text; here it may be wider than the rule')
  draft.differs(
    path,
    '`a/**` is `a/#` here, which is `a` too; `**` alone is `#`, which is no topic that begins with `$`',
  )
  return draft
}

function parse(path: string): z.output<typeof credentials> {
  const text = readSource(path)
  try {
    return credentials.parse(JSON.parse(text))
  } catch (cause) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${path} is no file of Mosca's credentials`, { cause })
  }
}

interface Permitted {
  at: string
  name: string
  glob: string
  write: boolean
}

function addRule(draft: BundleDraft, { at, name, glob, write }: Permitted): void {
  const word = write ? 'authorizePublish' : 'authorizeSubscribe'
  const pattern = filterOfGlob(glob)
  if (pattern === undefined) draft.leftOut(at, `${word} \`${glob}\` cannot be said by a Topic Filter`)
  else {
    draft.rules.push({ type: 'topic', username: name, pattern, read: !write, write, effect: 'allow', priority: 0 })
  }
}

/** `*` is one level, `**` at the end all that follow. @returns `undefined` for what a Topic Filter cannot say */
function filterOfGlob(glob: string): string | undefined {
  const levels = glob.split('/')
  const isPlain = levels.every((level, index) =>
    level === '**' ? index === levels.length - 1 : level === '*' || !/[*?[\]{}()!@+#%\\]/.test(level),
  )
  const filter = levels.map(level => (level === '**' ? '#' : level === '*' ? '+' : level)).join('/')
  return isPlain && checkAclPattern(filter) === 0 ? filter : undefined
}
