import { ApiFailure, type ApiRequest } from './api-client.ts'
import type { Column } from './table-text.ts'

/** What was typed: arguments by name, and options. */
export interface Words {
  args: Record<string, string>
  options: Record<string, unknown>
  instance: string
  /** Read for verbs with `asksPassword`. */
  password: string | undefined
}

/** One thing that can be done by way of the API. */
export interface Verb {
  /** Noun and verb. */
  name: string
  /** In commander's form: `<username>`, `[plan]`. */
  args?: string
  about: string
  options?: readonly (readonly [flags: string, about: string, initial?: string])[]
  /** A new password is asked for: on the terminal, from a file, from standard input. */
  asksPassword?: boolean
  /** What is lost, as a question; asked unless `--yes` is given. */
  confirm?: (words: Words) => string
  request(words: Words): ApiRequest
  /** How a list is shown; its pages are all asked for. Otherwise an answer is shown field by field. */
  columns?: readonly Column[]
}

const part = encodeURIComponent
const inside = ({ instance }: Words, path: string): string => `/instances/${part(instance)}${path}`
const arg = ({ args }: Words, name: string): string => args[name] ?? ''
const columns = (...fields: (string | [title: string, field: string])[]): readonly Column[] =>
  fields.map(entry =>
    typeof entry === 'string' ? { title: entry.toUpperCase(), field: entry } : { title: entry[0], field: entry[1] },
  )

const get =
  (path: (words: Words) => string) =>
  (words: Words): ApiRequest => ({ method: 'GET', path: path(words) })
const remove =
  (path: (words: Words) => string) =>
  (words: Words): ApiRequest => ({ method: 'DELETE', path: path(words) })
const post =
  (path: (words: Words) => string, body?: (words: Words) => unknown) =>
  (words: Words): ApiRequest => {
    return { method: 'POST', path: path(words), ...(body === undefined ? {} : { body: body(words) }) }
  }

const thisInstance = (words: Words, path = ''): string => `/instances/${part(arg(words, 'id'))}${path}`
const user = (words: Words): string => inside(words, `/users/${part(arg(words, 'username'))}`)
const client =
  (noun: string) =>
  (words: Words): string =>
    inside(words, `/${noun}/${part(arg(words, 'clientId'))}`)

const INSTANCES: readonly Verb[] = [
  {
    name: 'instance list',
    about: 'list instances',
    request: get(() => '/instances'),
    columns: columns('id', 'name', 'plan', 'state', 'region', ['PORT', 'portBase'], ['CREATED', 'createdAtMs']),
  },
  { name: 'instance show', args: '<id>', about: 'show one instance', request: get(words => thisInstance(words)) },
  {
    name: 'instance connect',
    args: '<id>',
    about: 'show ports, addresses and snippets for clients',
    request: get(words => thisInstance(words, '/connection')),
  },
  {
    name: 'instance create',
    args: '<id>',
    about: 'create an instance; its password and API key are shown once',
    options: [
      ['--name <text>', 'name for people; the id when absent'],
      ['--plan <plan>', 'what it may use', 'cat'],
      ['--region <region>', 'where it is sold'],
      ['--ports', 'with ports of its own'],
    ],
    request: post(
      () => '/instances',
      ({ args, options }) => ({
        id: args['id'],
        name: options['name'] ?? args['id'],
        plan: options['plan'],
        region: options['region'],
        withPorts: options['ports'],
      }),
    ),
  },
  {
    name: 'instance plan',
    args: '<id> <plan>',
    about: 'give it another plan; the new limits count at once',
    request: words => ({ method: 'PATCH', path: thisInstance(words), body: { plan: arg(words, 'plan') } }),
  },
  {
    name: 'instance suspend',
    args: '<id>',
    about: 'close its connections and let nobody in',
    request: post(words => thisInstance(words, '/suspend')),
  },
  {
    name: 'instance resume',
    args: '<id>',
    about: 'let clients in again',
    request: post(words => thisInstance(words, '/resume')),
  },
  {
    name: 'instance restart',
    args: '<id>',
    about: 'close all its connections',
    request: post(words => thisInstance(words, '/restart')),
  },
  {
    name: 'instance reset',
    args: '<id>',
    about: 'remove sessions, queues and retained messages; users and rules stay',
    confirm: words => `All sessions and messages of ${arg(words, 'id')} will be gone.`,
    request: post(words => thisInstance(words, '/reset')),
  },
  {
    name: 'instance delete',
    args: '<id>',
    about: 'delete an instance with all that belongs to it',
    confirm: words => `Instance ${arg(words, 'id')} and everything in it will be gone.`,
    request: remove(words => thisInstance(words)),
  },
]

const USERS: readonly Verb[] = [
  {
    name: 'user list',
    about: 'list users',
    options: [['--prefix <text>', 'only names that begin so']],
    request: get(words => withQuery(inside(words, '/users'), { prefix: words.options['prefix'] })),
    columns: columns(
      'username',
      ['UNRESTRICTED', 'isUnrestricted'],
      ['ENABLED', 'isEnabled'],
      ['CREATED', 'createdAtMs'],
      'note',
    ),
  },
  { name: 'user show', args: '<username>', about: 'show one user', request: get(user) },
  {
    name: 'user add',
    args: '<username>',
    about: 'create a user; it may do nothing until a rule says so',
    options: [
      ['--unrestricted', 'rules do not apply to it'],
      ['--note <text>', 'what it is for'],
    ],
    asksPassword: true,
    request: post(
      words => inside(words, '/users'),
      ({ args, options, password }) => ({
        username: args['username'],
        password,
        isUnrestricted: options['unrestricted'],
        note: options['note'],
      }),
    ),
  },
  {
    name: 'user passwd',
    args: '<username>',
    about: 'give it another password; its connections end',
    asksPassword: true,
    request: words => ({ method: 'PATCH', path: user(words), body: { password: words.password } }),
  },
  {
    name: 'user enable',
    args: '<username>',
    about: 'let it in again',
    request: words => ({ method: 'PATCH', path: user(words), body: { isEnabled: true } }),
  },
  {
    name: 'user disable',
    args: '<username>',
    about: 'close its connections and keep it out',
    request: words => ({ method: 'PATCH', path: user(words), body: { isEnabled: false } }),
  },
  {
    name: 'user remove',
    args: '<username>',
    about: 'delete it with its rules; its connections end',
    request: remove(user),
  },
]

const ACCESS: readonly [flags: string, about: string][] = [
  ['--read', 'may subscribe and receive'],
  ['--write', 'may publish'],
  ['--deny', 'the rule denies instead of allowing'],
  ['--priority <number>', 'lowest is asked first; 0 when absent'],
]

const RULE_COLUMNS = columns('id', 'type', ['USER', 'username'], 'pattern', 'read', 'write', 'effect', [
  'PRIO',
  'priority',
])

const RULES: readonly Verb[] = [
  {
    name: 'acl list',
    about: 'list rules',
    options: [['--user <username>', 'only those of one user']],
    request: get(words => withQuery(inside(words, '/rules'), { username: words.options['user'] })),
    columns: RULE_COLUMNS,
  },
  {
    name: 'acl add',
    args: '<pattern>',
    about: 'create a rule, of one user with --user, of all without; %u and %c stand for username and client id',
    options: [['--user <username>', 'whose rule it is'], ...ACCESS],
    columns: RULE_COLUMNS,
    request: post(
      words => inside(words, '/rules'),
      ({ args, options }) => {
        if (options['read'] !== true && options['write'] !== true) throw new ApiFailure('give --read, --write or both')
        return {
          type: options['user'] === undefined ? 'pattern' : 'topic',
          username: options['user'],
          pattern: args['pattern'],
          read: options['read'] === true,
          write: options['write'] === true,
          effect: options['deny'] === true ? 'deny' : undefined,
          priority: options['priority'] === undefined ? undefined : Number(options['priority']),
        }
      },
    ),
  },
  {
    name: 'acl remove',
    args: '<rule>',
    about: 'delete a rule by its id',
    request: remove(words => inside(words, `/rules/${part(arg(words, 'rule'))}`)),
  },
  {
    name: 'acl check',
    args: '<topic>',
    about: 'may a client do this, and which rule says so?',
    options: [
      ['--user <username>', 'who asks; nobody in particular when absent'],
      ['--client <clientId>', 'its client id', 'any'],
      ['--access <access>', 'publish, subscribe or receive', 'publish'],
    ],
    request: post(
      words => inside(words, '/rules/check'),
      ({ args, options }) => ({
        username: options['user'],
        clientId: options['client'],
        topic: args['topic'],
        access: options['access'],
      }),
    ),
  },
  {
    name: 'acl templates',
    about: 'list templates of rules',
    request: get(() => '/rule-templates'),
    columns: columns('id', 'title', ['NEEDS USER', 'needsUsername']),
  },
  {
    name: 'acl template',
    args: '<template>',
    about: 'create the rules of a template',
    options: [['--user <username>', 'for one user']],
    columns: RULE_COLUMNS,
    request: post(
      words => inside(words, '/rules/from-template'),
      ({ args, options }) => ({ template: args['template'], username: options['user'] }),
    ),
  },
]

const OPERATION: readonly Verb[] = [
  {
    name: 'plan list',
    about: 'list plans; - is unlimited',
    request: get(() => '/plans'),
    columns: columns(
      'id',
      'title',
      ['CONNECTIONS', 'limits.connections'],
      ['USERS', 'limits.users'],
      ['RULES', 'limits.rules'],
    ),
  },
  {
    name: 'plan show',
    args: '<plan>',
    about: 'show the limits of a plan',
    request: get(words => `/plans/${part(arg(words, 'plan'))}`),
  },
  {
    name: 'apikey list',
    about: 'list keys of the API',
    request: get(() => '/api-keys'),
    columns: columns('id', 'label', 'scope', 'instance', ['CREATED', 'createdAtMs'], ['EXPIRES', 'expiresAtMs']),
  },
  {
    name: 'apikey create',
    args: '<label>',
    about: 'create a key; it is shown once',
    options: [
      ['--scope <scope>', 'operator, instance:read or instance:write', 'operator'],
      ['--for <instance>', 'which instance, with a scope of one'],
    ],
    request: post(
      () => '/api-keys',
      ({ args, options }) => ({ label: args['label'], scope: options['scope'], instance: options['for'] }),
    ),
  },
  {
    name: 'apikey remove',
    args: '<id>',
    about: 'delete a key',
    request: remove(words => `/api-keys/${part(arg(words, 'id'))}`),
  },
  {
    name: 'node list',
    about: 'list the nodes of the cluster',
    request: get(() => '/nodes'),
    columns: columns(['NODE', 'nodeId'], 'ready', 'version', 'connections', ['LAG MS', 'eventLoopLagMs']),
  },
  {
    name: 'node drain',
    args: '<node>',
    about: 'take a node out of service; its clients connect elsewhere',
    confirm: words => `Clients of ${arg(words, 'node')} have to connect elsewhere.`,
    request: post(words => `/nodes/${part(arg(words, 'node'))}/drain`),
  },
  {
    name: 'audit list',
    about: 'who has changed what, newest first',
    request: get(() => '/audit'),
    columns: columns(['WHEN', 'atMs'], 'action', 'instance', 'subject', ['BY', 'actor.id'], ['FROM', 'actor.address']),
  },
]

const CLIENTS: readonly Verb[] = [
  {
    name: 'client list',
    about: 'list open connections',
    request: get(words => inside(words, '/connections')),
    columns: columns(
      ['CLIENT', 'clientId'],
      ['USER', 'username'],
      'address',
      'transport',
      'protocol',
      ['NODE', 'nodeId'],
      ['SINCE', 'connectedAtMs'],
    ),
  },
  { name: 'client show', args: '<clientId>', about: 'show one connection', request: get(client('connections')) },
  {
    name: 'client kick',
    args: '<clientId>',
    about: 'close a connection; it may come back',
    request: remove(client('connections')),
  },
  {
    name: 'session list',
    about: 'list stored sessions',
    request: get(words => inside(words, '/sessions')),
    columns: columns(
      ['CLIENT', 'clientId'],
      ['USER', 'username'],
      ['NODE', 'nodeId'],
      ['QUEUED', 'queueMessages'],
      ['BYTES', 'queueBytes'],
      ['SUBSCRIPTIONS', 'subscriptionCount'],
    ),
  },
  { name: 'session show', args: '<clientId>', about: 'show one session', request: get(client('sessions')) },
  {
    name: 'session queue',
    args: '<clientId>',
    about: 'list the messages that are kept for a client',
    request: get(words => `${client('sessions')(words)}/queue`),
    columns: columns('seq', 'topic', 'qos', 'retain', 'payload'),
  },
  {
    name: 'session purge',
    args: '<clientId>',
    about: 'empty the queue of a client that is away',
    confirm: words => `Messages that wait for ${arg(words, 'clientId')} will be gone.`,
    request: remove(words => `${client('sessions')(words)}/queue`),
  },
  {
    name: 'session delete',
    args: '<clientId>',
    about: 'end a session with its queue and subscriptions',
    confirm: words => `The session of ${arg(words, 'clientId')} will be gone.`,
    request: remove(client('sessions')),
  },
  {
    name: 'retained list',
    args: '[filter]',
    about: 'list retained messages by Topic Filter',
    request: get(words => withQuery(inside(words, '/retained'), { filter: words.args['filter'] })),
    columns: columns('topic', 'qos', 'payload'),
  },
  {
    name: 'retained delete',
    args: '<filter>',
    about: 'delete retained messages by Topic Filter',
    confirm: words => `Retained messages of ${arg(words, 'filter')} will be gone.`,
    request: remove(words => withQuery(inside(words, '/retained'), { filter: arg(words, 'filter') })),
  },
  {
    name: 'ban list',
    about: 'list bans',
    request: get(words => inside(words, '/bans')),
    columns: columns('id', 'kind', 'value', 'reason', ['UNTIL', 'untilMs']),
  },
  {
    name: 'ban add',
    args: '<kind> <value>',
    about: 'ban an address or range (`address`), a `username` or a `clientId`',
    options: [
      ['--reason <text>', 'why'],
      ['--minutes <count>', 'for so long; until it is lifted when absent'],
    ],
    request: post(
      words => inside(words, '/bans'),
      ({ args, options }) => ({
        kind: args['kind'],
        value: args['value'],
        reason: options['reason'],
        untilMs: options['minutes'] === undefined ? undefined : Date.now() + Number(options['minutes']) * 60_000,
      }),
    ),
  },
  {
    name: 'ban remove',
    args: '<id>',
    about: 'lift a ban',
    request: remove(words => inside(words, `/bans/${part(arg(words, 'id'))}`)),
  },
]

/** Everything that the command line does by way of the API, in the order of the help. */
export const VERBS: readonly Verb[] = [...INSTANCES, ...USERS, ...RULES, ...CLIENTS, ...OPERATION]

/** Nouns with what they are, for the help. */
export const NOUNS: Readonly<Record<string, string>> = {
  instance: 'tenants: create, suspend, delete …',
  user: 'users of an instance',
  acl: 'rules: who may publish and subscribe where',
  client: 'open connections',
  session: 'stored sessions and their queues',
  retained: 'retained messages',
  ban: 'who may not come in',
  plan: 'what instances may use',
  apikey: 'keys of the HTTP API',
  node: 'nodes of the cluster',
  audit: 'who has changed what',
}

/** Adds what is given as a query. */
export function withQuery(path: string, query: Record<string, unknown>): string {
  const given = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value))
  return given.size === 0 ? path : `${path}${path.includes('?') ? '&' : '?'}${given.toString()}`
}
