import { CONFIG_KEYS, type ConfigKey } from './config-keys.ts'

const TITLES: Readonly<Record<string, string>> = {
  '': 'Node',
  redis: 'Redis',
  'redis.sentinel': 'Redis behind Sentinel',
  'redis.tls': 'Redis over TLS',
  'listeners.tcp': 'MQTT over TCP',
  'listeners.tls': 'MQTT over TLS',
  'listeners.ws': 'MQTT over WebSocket',
  'listeners.wss': 'MQTT over secure WebSocket',
  listeners: 'Further listeners',
  http: 'HTTP server',
  auth: 'Authentication',
  bootstrap: 'First user',
  limits: 'Limits',
  outbound: 'Calls to other servers',
  suback: 'Subscribing',
  log: 'Log',
}

const INTRO = `# Configuration

<!-- Generated from packages/broker-node/src/config/schema.ts by scripts/generate-docs.mjs; do not edit. -->

Values come from, the later winning over the earlier: defaults, the YAML file of \`--config\` (or of
\`MIDGE_CONFIG_FILE\`), the environment, \`--set key=value\`. An unknown key is an error, wherever it stands.
\`midge check-config\` checks without starting; \`midge print-config\` shows every value and where it came from.

An environment name is the key in capitals: \`listeners.tcp.port\` is \`MIDGE_LISTENERS_TCP_PORT\`, and a capital
letter inside a name starts a new word (\`dataDir\` is \`MIDGE_DATA_DIR\`). Keys marked *secret* are never printed and
may also come from a file: \`MIDGE_BOOTSTRAP_PASSWORD_FILE=/run/secrets/password\`. An empty variable counts as not
set. Lists are separated by commas in the environment and in \`--set\`; lists of objects are
JSON there.

In a file:

\`\`\`yaml
redis:
  url: redis://redis.internal:6379
listeners:
  tcp:
    port: 1883
  tls:
    certFile: /etc/midge/tls.crt
    keyFile: /etc/midge/tls.key
    certificates:
      - hosts: [mqtt.example.org, '*.tenants.example.org']
        certFile: /etc/midge/example.crt
        keyFile: /etc/midge/example.key
limits:
  maxPacketBytes: 262144
\`\`\`

Certificate files hold the whole chain, the server's certificate first. Changed ones are read again within ten seconds,
with the next handshake; no connection ends for it.
`

function groupOf(key: string): string {
  return key.split('.').slice(0, -1).join('.')
}

function code(value: unknown): string {
  return `\`${Array.isArray(value) ? value.join(',') : String(value)}\``
}

function defaultOf({ json, meta }: ConfigKey): string {
  if (meta.defaultText !== undefined) return meta.defaultText
  const initial = json['default']
  return initial === undefined || (Array.isArray(initial) && initial.length === 0) ? 'none' : code(initial)
}

function boundsOf({ json, kind }: ConfigKey): string {
  if (Array.isArray(json['enum'])) return json['enum'].map(code).join(', ')
  if (kind === 'number') return `${json['minimum']} to ${json['maximum']}`
  if (kind === 'boolean') return '`true`, `false`'
  if (kind === 'objects') return 'list of objects'
  return kind === 'list' ? 'list' : 'text'
}

function row(entry: ConfigKey): string {
  const secret = entry.meta.secret === true ? ' *Secret.*' : ''
  const cells = [
    `\`${entry.key}\`<br>\`${entry.env}\``,
    defaultOf(entry),
    boundsOf(entry),
    entry.meta.description + secret,
  ]
  return `| ${cells.join(' | ')} |`
}

/**
 * The text of `docs/configuration.md`.
 *
 * @param durability - the sentence of each value of `durability`
 */
export function renderConfigurationDoc(durability: Readonly<Record<string, string>>): string {
  const parts = [INTRO]
  let group: string | undefined
  for (const entry of CONFIG_KEYS) {
    if (groupOf(entry.key) !== group) {
      group = groupOf(entry.key)
      parts.push(
        `\n## ${TITLES[group] ?? group}\n\n| Key and variable | Default | Values | What it does |\n|---|---|---|---|\n`,
      )
    }
    parts.push(`${row(entry)}\n`)
  }
  parts.push('\n## What each durability promises\n\n| Setting | Promise |\n|---|---|\n')
  for (const [setting, sentence] of Object.entries(durability)) parts.push(`| \`${setting}\` | ${sentence} |\n`)
  return parts.join('')
}
