import type { Details } from './running-node.ts'

/** A word that a POSIX shell takes as it stands, quoted only where it has to be. */
function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

function passwordText({ password, isPasswordGenerated }: Details): string {
  if (password === undefined) return 'not known to this node; MIDGE_BOOTSTRAP_PASSWORD sets one'
  return isPasswordGenerated ? `${password}  (generated)` : password
}

/** What there is; a listener that is off has no row. */
function rowsOf(details: Details): [label: string, value: string][] {
  const rows: [string, string | number | undefined][] = [
    ['Host', details.host],
    ['MQTT port', details.tcpPort],
    ['MQTT over TLS port', details.tlsPort],
    ['WebSocket port', details.wsPort],
    ['Secure WebSocket port', details.wssPort],
    ['User', details.username],
    ['Password', passwordText(details)],
    ['API key', details.httpUrl === undefined ? undefined : details.apiKey],
    ['Anonymous clients', details.isAnonymousAllowed ? 'allowed' : undefined],
    ['Status', details.httpUrl === undefined ? undefined : `${details.httpUrl}/status`],
    ['Store', details.store],
    ['Node', details.nodeId],
  ]
  return rows.flatMap(([label, value]) => (value === undefined ? [] : [[label, String(value)]]))
}

function tryIt(details: Details): string[] {
  if (details.tcpPort === undefined) return []
  const who = `-u ${shellWord(details.username)} -P ${shellWord(details.password ?? 'PASSWORD')}`
  const where = `-h ${shellWord(details.host)} -p ${details.tcpPort}`
  return [
    '',
    'Try it, in two terminals:',
    `  mosquitto_sub ${where} ${who} -V mqttv5 -t 'hello/#' -v`,
    `  mosquitto_pub ${where} ${who} -V mqttv5 -t hello/world -m 'Hi there' -q 1`,
  ]
}

/** The Details of the default instance in a frame, and below it how to try them; ends with a line break. */
export function renderDetailsBox(details: Details): string {
  const rows = rowsOf(details)
  const labelWidth = Math.max(...rows.map(([label]) => label.length))
  const lines = rows.map(([label, value]) => `${label.padEnd(labelWidth)}  ${value}`)
  const title = `Midge · instance ${details.instance}`
  const width = Math.max(title.length, ...lines.map(line => line.length))
  const edge = '─'.repeat(width + 2)
  const box = [
    `┌${edge}┐`,
    `│ ${title.padEnd(width)} │`,
    `├${edge}┤`,
    ...lines.map(line => `│ ${line.padEnd(width)} │`),
    `└${edge}┘`,
  ]
  return `${[...box, ...tryIt(details), ''].join('\n')}\n`
}
