import { BrokerError, checkAclPattern } from '@midge/protocol-core'
import { parse } from 'yaml'
import { z } from 'zod'
import { type Bundle, BundleDraft } from '../bundle.ts'
import { readPasswordFile } from '../password-file.ts'
import { pathBelow, readSource } from '../source-file.ts'

const filters = z.record(z.string(), z.array(z.string()).nullable())
const hbmqttConfig = z.looseObject({
  auth: z.looseObject({ 'allow-anonymous': z.boolean().optional(), 'password-file': z.string().optional() }).optional(),
  'topic-check': z
    .looseObject({
      enabled: z.boolean().optional(),
      plugins: z.array(z.string()).optional(),
      acl: filters.optional(),
      'publish-acl': filters.optional(),
    })
    .optional(),
})

type TopicCheck = NonNullable<z.output<typeof hbmqttConfig>['topic-check']>
type Access = 'read' | 'write'

/** Where an HBMQTT, or an aMQTT with the same keys, has its files. */
export interface HbmqttSource {
  readonly config: string
  readonly root?: string | undefined
}

/**
 * Reads users and rules by the YAML that `hbmqtt -c` is given.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for what cannot be read, or is not such a file
 */
export function readHbmqtt({ config: path, root }: HbmqttSource): Bundle {
  const draft = new BundleDraft()
  const { auth, 'topic-check': check, ...others } = parseConfig(path)
  const passwords = auth?.['password-file']
  if (passwords === undefined) draft.leftOut(path, 'there is no `auth.password-file`, so there are no users')
  else readPasswordFile(draft, pathBelow(root, passwords), readSource(pathBelow(root, passwords)))
  if (auth?.['allow-anonymous'] === true) {
    const what = 'add {"kind":"anonymous"} to `settings.logins` of the instance'
    draft.leftOut(path, `auth.allow-anonymous: to let clients in without a name, ${what}`)
  }
  addRules(draft, path, check)
  for (const key of Object.keys(others)) draft.leftOut(path, `\`${key}\` is not taken over`)
  return draft
}

function parseConfig(path: string): z.output<typeof hbmqttConfig> {
  const text = readSource(path)
  try {
    return hbmqttConfig.parse(parse(text))
  } catch (cause) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${path} is no configuration of HBMQTT`, { cause })
  }
}

function addRules(draft: BundleDraft, path: string, check: TopicCheck | undefined): void {
  const acl = check?.enabled === true && check.plugins?.includes('topic_acl') !== false ? check.acl : undefined
  if (check?.plugins?.includes('topic_taboo') === true)
    draft.leftOut(path, 'the plug-in `topic_taboo` is not taken over')
  const publish = acl === undefined ? undefined : check?.['publish-acl']
  if (acl === undefined) addOpen(draft, 'read')
  else addLists(draft, { path, lists: acl, access: 'read' })
  if (publish === undefined) addOpen(draft, 'write')
  else addLists(draft, { path, lists: publish, access: 'write' })
  if (publish === undefined)
    draft.differs(path, 'topic-check holds for SUBSCRIBE only: every user may publish everything')
}

function addOpen(draft: BundleDraft, access: Access): void {
  for (const type of ['pattern', 'anonymous'] as const) {
    draft.rules.push({ type, pattern: '#', ...rightOf(access), effect: 'allow', priority: 0 })
  }
}

function addLists(
  draft: BundleDraft,
  { path, lists, access }: { path: string; lists: z.output<typeof filters>; access: Access },
): void {
  for (const [username, patterns] of Object.entries(lists)) {
    const who = username === 'anonymous' ? { type: 'anonymous' as const } : { type: 'topic' as const, username }
    for (const pattern of patterns ?? []) {
      if (checkAclPattern(pattern) === 0 && !/%[uc]/.test(pattern)) {
        draft.rules.push({ ...who, pattern, ...rightOf(access), effect: 'allow', priority: 0 })
      } else draft.leftOut(path, `\`${pattern}\` of ${username} is no Topic Filter that a rule may have`)
    }
  }
}

function rightOf(access: Access): { read: boolean; write: boolean } {
  return { read: access === 'read', write: access === 'write' }
}
