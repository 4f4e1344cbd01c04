import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import { connectClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { startMosquitto } from '../support/mosquitto-process.ts'
import { topicsPassing } from '../support/passing-topics.ts'
import { TestProcess } from '../support/test-process.ts'

const API_KEY = 'midge_operator_key-of-the-import'

/** Denials stand last where their place must not matter. */
const ACL = `# before the first user: anonymous
topic read open/#

user watch
topic readwrite #

user ann
topic home/#
topic read weather/+
topic deny home/secret
topic write in/ann
topic both/x

user ben
topic read home/#
topic in/%u

pattern readwrite own/%u/#
pattern write dev/%c/state
pattern deny both/#
`

const TOPICS = ['home/a', 'home/secret', 'weather/x', 'weather/x/y', 'in/ann', 'both/x', 'both/y', 'own/ann/1']
TOPICS.push('own/ben/1', 'dev/ann-client/state', 'dev/other/state', 'open/1', 'in/ben')

const USERS = ['ann', 'ben', 'eve']
let folder: string
let conf: string
let mosquittoPort: number
let mosquitto: TestProcess
let node: MidgeNode
watchNodes(() => [node])

async function run(command: string, args: readonly string[]): Promise<{ code: number | null; out: string }> {
  const program = new TestProcess(command, command, args)
  const { code } = await program.end()
  return { code, out: program.stdout + program.stderr }
}

function midge(...args: string[]): Promise<{ code: number | null; out: string }> {
  return run(process.execPath, ['packages/broker-node/bin/midge.js', 'import', 'mosquitto', ...args])
}

function imported(...args: string[]): Promise<{ code: number | null; out: string }> {
  return midge(conf, '--url', `http://127.0.0.1:${node.ports.http}`, '--key-file', join(folder, 'key'), ...args)
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'midge-e2e-import-'))
  mosquittoPort = await freePort()
  // Of two lines of one name, the last counts.
  const passwords = join(folder, 'passwd')
  await writeFile(passwords, '', { mode: 0o600 })
  for (const name of ['watch', ...USERS]) {
    const form = name === 'ben' ? ['-H', 'sha512'] : []
    assert.equal((await run('mosquitto_passwd', ['-b', ...form, passwords, name, `pass of ${name}`])).code, 0)
  }
  const spare = join(folder, 'spare')
  await writeFile(spare, '', { mode: 0o600 })
  assert.equal((await run('mosquitto_passwd', ['-b', spare, 'eve', 'an earlier pass'])).code, 0)
  await writeFile(passwords, (await readFile(spare, 'utf8')) + (await readFile(passwords, 'utf8')))
  await writeFile(join(folder, 'acl'), ACL, { mode: 0o600 })
  await mkdir(join(folder, 'conf.d'))
  conf = join(folder, 'mosquitto.conf')
  const included = [`password_file ${passwords}`, `acl_file ${join(folder, 'acl')}`, 'max_keepalive 100']
  await writeFile(join(folder, 'conf.d/auth.conf'), `${included.join('\n')}\n`)
  const lines = [`listener ${mosquittoPort} 127.0.0.1`, 'user root', `include_dir ${join(folder, 'conf.d')}`]
  await writeFile(conf, `${lines.join('\n')}\n`)
  await writeFile(join(folder, 'key'), `${API_KEY}\n`)
  mosquitto = await startMosquitto(conf)
  node = await MidgeNode.start({ env: { MIDGE_BOOTSTRAP_API_KEY: API_KEY } })
})
after(async () => {
  await mosquitto?.kill9()
  await node?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Topics of which a message of one user reaches the other, who subscribes to everything. */
async function passed(port: number, from: string, to: string): Promise<string[]> {
  const as = (name: string) =>
    connectClient({ port, username: name, password: `pass of ${name}`, clientId: `${name}-client` })
  return topicsPassing(await as(from), await as(to), TOPICS)
}

test('a dry run says what would be taken, and which lines not, and writes nothing', async () => {
  const { code, out } = await midge(conf, '--dry-run')
  assert.equal(code, 0, out)
  assert.match(out, /^users {5}4 found\nrules {5}13 found\nnothing was written/)
  assert.match(out, /left out {2}\S+passwd:1: user eve: is there again, and the last line counts/)
  assert.match(out, /left out {2}\S+acl:16: in a `topic` line %u and %c/)
  assert.match(out, /left out {2}\S+auth\.conf:3: `max_keepalive` is not taken over/)
  assert.match(out, /left out {2}\S+mosquitto\.conf:1: `listener \d+ 127\.0\.0\.1`: see listeners/)
  assert.ok(!out.includes('$7$'), 'no hash is printed')
})

test('lines that Mosquitto would not start with are named and stop nothing', async () => {
  const file = join(folder, 'copy/etc/broken.conf')
  await mkdir(join(folder, 'copy/etc'), { recursive: true })
  await writeFile(file, 'password_file /etc/users\nacl_file /etc/broken\n')
  await writeFile(join(folder, 'copy/etc/users'), 'open:plain\nno colon\nann:$9$x$y\n')
  await writeFile(join(folder, 'copy/etc/broken'), 'user ann\ntopic bad/#/filter\nnonsense line\ntopic read ok\n')
  const { code, out } = await midge(file, '--root', join(folder, 'copy'), '--dry-run')
  assert.equal(code, 0, out)
  assert.match(out, /^users {5}0 found\nrules {5}1 found/)
  assert.match(out, /users:1: user open: the password is not hashed/)
  assert.match(out, /users:2: not `username:hash`/)
  assert.match(out, /users:3: user ann: the hash is of no known form/)
  assert.match(out, /broken:2: `bad\/#\/filter` is no Topic Filter/)
  assert.match(out, /broken:3: `nonsense` is no line of an ACL file/)
})

test('users log in with the passwords they had, and may do what they might', async () => {
  const first = await imported('--json')
  assert.equal(first.code, 0, first.out)
  const { written } = JSON.parse(first.out)
  assert.deepEqual(written.users, { created: 4, changed: 0, kept: 0, failed: [] })
  assert.deepEqual(written.rules, { created: 13, changed: 0, kept: 0, failed: [] })
  for (const name of USERS) {
    const wrong = connectClient({ port: node.port, username: name, password: 'pass of nobody' })
    await assert.rejects(wrong, /Not authorized|Bad username/i, name)
    for (const [from, to] of [
      [name, 'watch'],
      ['watch', name],
    ] as const) {
      const expected = await passed(mosquittoPort, from, to)
      assert.deepEqual(await passed(node.port, from, to), expected, `${from} to ${to}`)
      if (name === 'ann') assert.ok(expected.length > 2 && expected.length < TOPICS.length)
    }
  }
})

test('a second import changes nothing', async () => {
  const { code, out } = await imported()
  assert.equal(code, 0, out)
  assert.match(
    out,
    /^users {5}0 created, 0 changed, 4 there already, 0 failed\nrules {5}0 created, 0 changed, 13 there/,
  )
})

test('what cannot be reached or read is told in one line', async () => {
  const noKey = await midge(conf)
  assert.deepEqual([noKey.code, noKey.out.split('\n').length], [2, 2])
  const noFile = await midge(join(folder, 'none.conf'), '--dry-run')
  assert.match(noFile.out, /^midge: MIDGE_CONFIG_INVALID: cannot read \S+none\.conf \(ENOENT\)\n$/)
  const wrongInstance = await imported('--into', 'nobody')
  assert.equal(wrongInstance.code, 1)
  assert.match(wrongInstance.out, /404 no such instance/)
})

test('of listeners with users of their own, one is moved at a time', async () => {
  const file = join(folder, 'two.conf')
  const one = ['listener 1883', `password_file ${join(folder, 'passwd')}`, `acl_file ${join(folder, 'acl')}`]
  const two = ['listener 1884', 'allow_anonymous true']
  await writeFile(file, `${['per_listener_settings true', ...one, ...two].join('\n')}\n`)
  const undecided = await midge(file, '--dry-run')
  assert.equal(undecided.code, 2)
  assert.match(undecided.out, /--listener \(1883, 1884\)/)
  assert.match((await midge(file, '--dry-run', '--listener', '1883')).out, /^users {5}4 found\nrules {5}13 found/)
  const open = await midge(file, '--dry-run', '--listener', '1884')
  assert.match(open.out, /^users {5}0 found[\s\S]*two\.conf:6: allow_anonymous/)
})
