import { BrokerError } from '@midge/protocol-core'
import { type Bundle, BundleDraft } from '../bundle.ts'
import { readPasswordFile } from '../password-file.ts'
import { pathBelow, readSource } from '../source-file.ts'
import { readAclFile } from './acl-file.ts'
import { type Conf, type ConfLine, type ConfSection, readConf } from './conf-file.ts'
import { readDynamicSecurity } from './dynamic-security.ts'

/** Where a Mosquitto has its files. */
export interface MosquittoSource {
  /** `mosquitto.conf`. */
  readonly conf: string
  /** A copy of another machine's files, below which absolute paths are looked for. */
  readonly root?: string | undefined
  /** Port of the listener to move, where `per_listener_settings` gives each its own users. */
  readonly listener?: number | undefined
}

const PORT_DEFAULT = 1883
const SECURITY_KEYS = ['password_file', 'acl_file', 'allow_anonymous', 'plugin', 'auth_plugin']

/**
 * Reads users and rules of a Mosquitto 1.6 to 2.0, by its configuration. Whatever else is in the configuration is a remark.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` when a file cannot be read, or listeners have users of their own and none was chosen
 */
export function readMosquitto(source: MosquittoSource): Bundle {
  const draft = new BundleDraft()
  const conf = readConf(source.conf, source.root)
  const lines = chosenLines(draft, conf, source.listener)
  const lineOf = (key: string): ConfLine | undefined => lines.findLast(line => line.key === key && line.value !== '')
  const [passwords, acl, dynamic] = [lineOf('password_file'), lineOf('acl_file'), lineOf('plugin_opt_config_file')]
  const read = (line: ConfLine, into: (draft: BundleDraft, path: string, text: string) => void): void => {
    const path = pathBelow(source.root, line.value)
    into(draft, path, readSource(path))
  }
  if (passwords !== undefined) read(passwords, readPasswordFile)
  if (dynamic !== undefined) read(dynamic, readDynamicSecurity)
  if (acl !== undefined) read(acl, readAclFile)
  else if (dynamic === undefined) allowAll(draft, source.conf)
  remarkAnonymous(draft, lineOf('allow_anonymous'))
  const taken = new Set([passwords, acl, dynamic, lineOf('allow_anonymous')])
  for (const line of lines) if (!taken.has(line) && !isDynamicPlugin(line)) remark(draft, line)
  for (const { listener } of conf.sections) if (listener !== undefined) remark(draft, listener)
  for (const bridge of conf.bridges) remarkBridge(draft, bridge)
  return draft
}

/** The lines that users and rights depend on. */
function chosenLines(draft: BundleDraft, { isPerListener, sections }: Conf, wanted: number | undefined): ConfLine[] {
  const secured = sections.filter(({ lines }) => lines.some(({ key }) => SECURITY_KEYS.includes(key)))
  if (!isPerListener || (secured.length < 2 && wanted === undefined)) return sections.flatMap(({ lines }) => lines)
  // The default listener comes first, and has its port only as long as no other takes it.
  const chosen = sections.findLast(section => portOf(section) === wanted)
  if (chosen === undefined) {
    const ports = secured.map(portOf).join(', ')
    const text = `per_listener_settings gives listeners users of their own: move one at a time, by --listener (${ports})`
    throw new BrokerError('MIDGE_CONFIG_INVALID', text)
  }
  for (const section of secured) {
    if (section === chosen) continue
    draft.leftOut(section.listener?.at ?? 'the default listener', `users and rights of listener ${portOf(section)}`)
  }
  return chosen.lines
}

function portOf({ listener, lines }: ConfSection): number {
  const own = listener?.value.split(/\s+/)[0] ?? lines.find(({ key }) => key === 'port')?.value
  return own === undefined ? PORT_DEFAULT : Number(own)
}

/** Without an `acl_file` nothing is forbidden. */
function allowAll(draft: BundleDraft, at: string): void {
  for (const type of ['pattern', 'anonymous'] as const) {
    for (const [pattern, write] of [
      ['#', true],
      ['$SYS/#', false],
    ] as const) {
      draft.rules.push({ type, pattern, read: true, write, effect: 'allow', priority: 0 })
    }
  }
  draft.differs(at, 'there is no acl_file: every user may do everything, by rules that you can replace')
}

function remarkAnonymous(draft: BundleDraft, line: ConfLine | undefined): void {
  if (line?.value !== 'true') return
  draft.leftOut(
    line.at,
    'allow_anonymous: to let clients in without a name, add {"kind":"anonymous"} to `settings.logins` of the instance',
  )
}

function isDynamicPlugin({ key, value }: ConfLine): boolean {
  return (key === 'plugin' || key === 'auth_plugin') && value.includes('mosquitto_dynamic_security')
}

/** Whose settings have another place here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  listener: 'listeners.* of the configuration, or the ports of the instance',
  port: 'listeners.tcp.port of the configuration',
  cafile: 'listeners.tls.* of the configuration',
  certfile: 'listeners.tls.* of the configuration',
  keyfile: 'listeners.tls.* of the configuration',
  max_connections: 'the plan of the instance',
  persistence: 'dataDir or redis.url; every write is kept',
  persistence_location: 'dataDir or redis.url',
}

function remark(draft: BundleDraft, { at, key, value }: ConfLine): void {
  const place = ELSEWHERE[key]
  // Values of other lines may be secrets of a plug-in.
  if (place === undefined) draft.leftOut(at, `\`${key}\` is not taken over`)
  else draft.leftOut(at, `\`${`${key} ${value}`.trimEnd()}\`: see ${place}`)
}

function remarkBridge(draft: BundleDraft, { listener, lines }: ConfSection): void {
  const topics = lines.filter(({ key }) => key === 'topic').map(({ value }) => value)
  const to = lines.find(({ key }) => key === 'address' || key === 'addresses')?.value ?? 'nowhere'
  draft.leftOut(
    listener?.at ?? '',
    `bridge ${listener?.value} to ${to}, ${topics.length} topics: create it with PUT /api/v1/instances/…/bridges/…`,
  )
}
