import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { decideAcl, RuleBook } from '@midge/protocol-core'
import mqtt from 'mqtt'
import { freePort } from '../support/broker-under-test.ts'
import { startMosquitto } from '../support/mosquitto-process.ts'
import type { TestProcess } from '../support/test-process.ts'
import { within } from '../support/until.ts'

/** Lines of an `acl_file`, whose meaning here is that of rules of type `pattern`. */
const PATTERNS = ['dev/%u/#', 'client/%c/+', 'both/%u/%c', 'part/x-%u-y/z', 'plain/+/b', '%u/first', '$odd/%u']

/** Who asks: username, client id. */
const IDENTITIES: readonly (readonly [string, string])[] = [
  ['jane', 'phone1'],
  ['bob', 'jane'],
  ['%c', 'phone1'],
  ['__proto__', 'constructor'],
  ['größe', 'tele fon'],
  ['$SYS', 'phone1'],
  ['jane', '$SYS'],
]

/** Names that would widen a rule, and the placeholder that stands for them. */
const WIDENING: readonly (readonly [string, string, '%u' | '%c'])[] = [
  ['+', 'phone1', '%u'],
  ['ja+ne', 'phone1', '%u'],
  ['#', 'phone1', '%u'],
  ['jane', '+', '%c'],
  ['jane', 'a#', '%c'],
]

/** Topics that could be a way around, with the names of all of them in every place. */
function topicsFor(): string[] {
  const names = ['jane', 'phone1', 'bob', 'größe', 'tele fon', '$SYS', '%c', '__proto__', 'constructor', 'other']
  return names
    .flatMap(name => [
      `dev/${name}`,
      `dev/${name}/a/b`,
      `client/${name}/x`,
      `client/${name}/x/y`,
      `part/x-${name}-y/z`,
      `both/jane/${name}`,
      `both/${name}/phone1`,
      `${name}/first`,
      `plain/${name}/b`,
      `$odd/${name}`,
    ])
    .filter(topic => !topic.startsWith('$SYS'))
}

let folder: string
let port: number
let mosquitto: TestProcess

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'midge-e2e-acl-'))
  port = await freePort()
  const acl = PATTERNS.map(pattern => `pattern readwrite ${pattern}`).join('\n')
  await writeFile(join(folder, 'acl'), `${acl}\n`)
  const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'user root', `acl_file ${join(folder, 'acl')}`]
  await writeFile(join(folder, 'mosquitto.conf'), `${lines.join('\n')}\n`)
  mosquitto = await startMosquitto(join(folder, 'mosquitto.conf'))
})
after(async () => {
  await mosquitto?.kill9()
  await rm(folder, { recursive: true, force: true })
})

/** What of these topics a client may publish and gets back. */
async function passedBy(username: string, clientId: string): Promise<string[]> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { username, password: 'x', clientId, reconnectPeriod: 0 })
  const passed = new Set<string>()
  client.on('message', topic => passed.add(topic))
  try {
    await within('CONNACK', new Promise(resolve => client.once('connect', resolve)))
    await within('SUBACK', client.subscribeAsync(['#', '$odd/#'], { qos: 1 }))
    for (const topic of topicsFor()) await within(topic, client.publishAsync(topic, 'x', { qos: 1 }))
    // What is delivered comes before the answer to what is asked for after it.
    await within('UNSUBACK', client.unsubscribeAsync('none'))
    return [...passed].sort()
  } finally {
    client.end(true)
  }
}

/** What of these topics our rules let through, there and back. */
function allowedBy(patterns: readonly string[], username: string, clientId: string): string[] {
  const book = new RuleBook()
  for (const pattern of patterns) book.put({ id: pattern, type: 'pattern', pattern, read: true, write: true })
  const who = { trees: book.of(username), identity: { username, clientId } }
  const allowed = topicsFor().filter(topic => {
    const mayPublish = decideAcl(who, { access: 'publish', topic, qos: 1, retain: false }).allowed
    return mayPublish && decideAcl(who, { access: 'receive', topic }).allowed
  })
  return [...new Set(allowed)].sort()
}

for (const [username, clientId] of IDENTITIES) {
  test(`rules mean for "${username}" with the client id "${clientId}" what they mean to Mosquitto`, async () => {
    assert.deepEqual(await passedBy(username, clientId), allowedBy(PATTERNS, username, clientId))
  })
}

for (const [username, clientId, placeholder] of WIDENING) {
  test(`"${username}" with the client id "${clientId}" gets nothing by its name, from Mosquitto nothing at all`, async () => {
    assert.deepEqual(await passedBy(username, clientId), [])
    const withoutName = PATTERNS.filter(pattern => !pattern.includes(placeholder))
    assert.deepEqual(allowedBy(PATTERNS, username, clientId), allowedBy(withoutName, username, clientId))
  })
}
