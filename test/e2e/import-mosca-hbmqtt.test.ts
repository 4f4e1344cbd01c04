import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { TestProcess } from '../support/test-process.ts'

const API_KEY = 'midge_operator_key-of-the-import'

/** As Mosca 2.8 has written it. */
const CREDENTIALS = {
  jane: {
    salt: 'KN++MBNlxJ7bKRqjq6IbjmP1qNGbgOML/zNEmnXs8Wft2M2ViUPX58n3QrQ5bC5sZ9cffo0Vf7V9bPuVukQEKg==',
    hash: '+BMvK/v0L5v8h09vCxvFlLTdvHZB8m7gXgcpfMmQvQcmA6qmVDYfFHd1xZm5CyaM3Z/vGO20MVbkzaXgYFhPvSgkw21W+QF1taQNEeYyMUZFyu5pcJ9E1+Vda8Pgk1tBBPCVkHd+0/0AVprYZBPAtioQJEYNrHDAv8K92zdlajo=',
    authorizePublish: 'in/*/**',
    authorizeSubscribe: 'out/**',
  },
  joe: {
    salt: 'TJ8iLyUoDi5MS9BZboysuV4VGY9PR+gEuRGaWwZmm3RoUiLQGLc9a6ZExLznPMluc3//A7ip5FNtLa/xxRx6MQ==',
    hash: '8N7bUAk/IPX0TRjrt0jUgo5ZkUlDbU0nuc3IM7Pcs4c1R3wIW6LU/xMS5cN0sV/pXu5SnYUxjMeCRaf9aCSAyUjRDGNCEgkPp5oE707NRO1VD1nxcClHs+OUxthdOHBLE1593dyoNe06MOsAzFgXT6MJUyC+Aw10qhB0BDZvjC8=',
    authorizePublish: '**',
    authorizeSubscribe: '{a,b}/c',
  },
}

let folder: string
let node: MidgeNode
watchNodes(() => [node])

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'midge-e2e-import-'))
  await writeFile(join(folder, 'key'), API_KEY)
  node = await MidgeNode.start({ env: { MIDGE_BOOTSTRAP_API_KEY: API_KEY } })
})
after(async () => {
  await node?.stop()
  await rm(folder, { recursive: true, force: true })
})

async function imported(...args: string[]): Promise<string> {
  const where = ['--url', `http://127.0.0.1:${node.ports.http}`, '--key-file', join(folder, 'key')]
  const command = ['packages/broker-node/bin/midge.js', 'import', ...args, ...where]
  const program = new TestProcess('midge', process.execPath, command)
  assert.equal((await program.end()).code, 0, program.tail())
  return program.stdout
}

/** Which of these topics a user may publish, and which it gets. */
async function passed(username: string, topics: readonly string[]): Promise<{ sent: string[]; got: string[] }> {
  const user = await connectClient({ port: node.port, username, password: `pass of ${username}` })
  const first = await connectClient({ port: node.port })
  await first.subscribe('#', 1)
  for (const topic of topics) await user.publish(topic, 'from the user', 1)
  await user.subscribe('#', 1)
  for (const topic of topics) await first.publish(topic, 'from the first', 1)
  await user.client.unsubscribeAsync('none')
  await first.client.unsubscribeAsync('none')
  await user.end()
  await first.end()
  const of = (rows: typeof first.received, text: string): string[] =>
    rows.filter(row => row.text === text).map(row => row.topic)
  return { sent: of(first.received, 'from the user'), got: of(user.received, 'from the first') }
}

test('users of Mosca log in, and their patterns are rules as far as Topic Filters can say them', async () => {
  const file = join(folder, 'credentials.json')
  await writeFile(file, JSON.stringify(CREDENTIALS))
  const out = await imported('mosca', file)
  assert.match(out, /^users {5}2 created, [^\n]+\nrules {5}3 created/)
  assert.match(out, /user joe: authorizeSubscribe `\{a,b\}\/c` cannot be said by a Topic Filter/)
  assert.match(await imported('mosca', file), /^users {5}0 created, [^\n]+\nrules {5}0 created, 0 changed, 3 there/)
  assert.deepEqual(await passed('jane', ['in/a/b', 'out/x', 'z']), { sent: ['in/a/b'], got: ['out/x'] })
})

test('users of HBMQTT log in, and subscribe to what topic-check lets them', async () => {
  const crypt = new TestProcess('openssl', 'openssl', ['passwd', '-6', 'pass of hanna'])
  await crypt.end()
  await writeFile(join(folder, 'users'), `# users\nhanna:${crypt.stdout.trim()}\n`)
  const auth = `auth:\n  allow-anonymous: true\n  password-file: ${join(folder, 'users')}\n`
  const check = 'topic-check:\n  enabled: true\n  plugins: [topic_acl]\n  acl:\n    hanna: ["home/#", "a/#/b"]\n'
  await writeFile(join(folder, 'hbmqtt.yaml'), `${auth}${check}sys_interval: 10\n`)
  const out = await imported('hbmqtt', join(folder, 'hbmqtt.yaml'))
  assert.match(out, /^users {5}1 created, [^\n]+\nrules {5}3 created/)
  assert.match(out, /`a\/#\/b` of hanna is no Topic Filter/)
  assert.match(out, /`sys_interval` is not taken over/)
  assert.match(out, /topic-check holds for SUBSCRIBE only/)
  assert.deepEqual(await passed('hanna', ['home/x', 'z']), { sent: ['home/x', 'z'], got: ['home/x'] })
})
