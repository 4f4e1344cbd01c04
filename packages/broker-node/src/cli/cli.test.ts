import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'midge-cli-'))
after(() => rmSync(folder, { recursive: true }))

function midge(args: string[], env: Record<string, string> = {}): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env,
    cwd: folder,
  })
  return { code: status, out: stdout, err: stderr }
}

test('check-config: 0 for a valid configuration, 2 and one line for an invalid one', () => {
  assert.deepEqual(midge(['check-config', '--set', 'log.level=debug']).code, 0)
  const { code, err } = midge(['check-config'], { MIDGE_LOG_LEVLE: 'debug' })
  assert.equal(code, 2)
  assert.equal(
    err,
    'midge: MIDGE_CONFIG_INVALID: unknown environment variable `MIDGE_LOG_LEVLE`; the nearest known one is `MIDGE_LOG_LEVEL`\n',
  )
})

test('start refuses a wrong configuration with 2, with or without its name', () => {
  for (const args of [
    ['start', '--set', 'http.port=x'],
    ['--set', 'http.port=x'],
  ]) {
    const { code, err } = midge(args)
    assert.equal(code, 2)
    assert.match(err, /^midge: MIDGE_CONFIG_INVALID: `http\.port` from --set: [^\n]+\n$/)
  }
})

test('an unknown command or option is named and ends with 2', () => {
  const command = midge(['strat'])
  assert.equal(command.code, 2)
  assert.match(command.err, /unknown command `strat`; the nearest known one is `start`/)
  for (const [args, answer] of [
    [['stats'], 'the nearest known one is `status`'],
    [['check'], 'the nearest known one is `check-config`'],
    [['help', 'clustr'], 'the nearest known one is `cluster`'],
    [
      ['zzz'],
      'there are start, check-config, print-config, status, cluster, pub, sub, instance, user, acl, client, session, retained, ban, plan, apikey, node, audit, log, import, help',
    ],
  ] as const) {
    const { code, out, err } = midge([...args])
    assert.deepEqual([code, out], [2, ''])
    assert.equal(err, `midge: unknown command \`${args.at(-1)}\`; ${answer}\n`)
  }
  assert.deepEqual(midge(['start', 'now']), { code: 2, out: '', err: 'midge: start takes no `now`\n' })
  const option = midge(['start', '--detials'])
  assert.equal(option.code, 2)
  assert.match(option.err, /unknown option '--detials'/)
})

test('print-config shows origins and hides secrets', () => {
  const { code, out } = midge(['print-config'], { MIDGE_REDIS_URL: 'redis://:hunter2@host', MIDGE_HTTP_PORT: '0' })
  assert.equal(code, 0)
  assert.match(out, /^redis\.url +\[hidden\] +# MIDGE_REDIS_URL$/m)
  assert.match(out, /^http\.port +0 +# MIDGE_HTTP_PORT$/m)
  assert.doesNotMatch(out, /hunter2/)
})

test('without a build the command says how to make one', () => {
  const bin = fileURLToPath(new URL('../../bin', import.meta.url))
  cpSync(bin, join(folder, 'fresh/bin'), { recursive: true })
  cpSync(join(bin, '../package.json'), join(folder, 'fresh/package.json'))
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'fresh/bin/midge.js')], { encoding: 'utf8' })
  assert.equal(status, 1)
  assert.equal(stderr, 'midge: this clone is not built yet: run `npm start` or `npm run build` first\n')
})

test('--version and --help end with 0', () => {
  assert.match(midge(['--version']).out, /^\d+\.\d+\.\d+\n$/)
  const { code, out } = midge(['--help'])
  assert.equal(code, 0)
  for (const name of ['start', 'check-config', 'print-config', 'status', 'cluster']) assert.match(out, new RegExp(name))
})

test('help of every command has examples that the command line takes', () => {
  for (const name of ['start', 'check-config', 'print-config', 'status', 'cluster', 'pub', 'sub']) {
    const { code, out } = midge([name, '--help'])
    assert.equal(code, 0)
    assert.equal(midge(['help', name]).out, out)
    const examples = [...out.slice(out.indexOf('Examples:')).matchAll(/^ {2}(?:MIDGE_\S+ )?midge (.*?) {2,}\S/gm)]
    assert.ok(examples.length > 0, name)
    for (const [, line = ''] of examples) {
      const words = line.split(' ')
      assert.equal(words[0], name)
      const flags = words.filter(word => word.startsWith('--'))
      for (const flag of flags) assert.match(out, new RegExp(`^  ${flag}[ ,]`, 'm'), `${name} has no ${flag}`)
    }
  }
  assert.match(midge(['help']).out, /^Examples:\n {2}midge start /m)
})

/** Starts the process of `midge start` around a node that reports the calls it gets on standard output. */
function startFake(node: string, args: object = {}): ChildProcess & { text(): string } {
  const start = new URL('./start.js', import.meta.url).href
  const errors = import.meta.resolve('@midge/protocol-core')
  const script = `
    import { writeSync } from 'node:fs'
    import { BrokerError } from ${JSON.stringify(errors)}
    import { runStart } from ${JSON.stringify(start)}
    const say = text => writeSync(1, text + '\\n')
    const details = () => ({ nodeId: 'n1', instance: 'default', host: 'localhost', tcpPort: 1883, username: 'midge',
      password: 'pw', isPasswordGenerated: true, isAnonymousAllowed: false, store: 'memory' })
    // Stands in for the listeners of a real node.
    const alive = setInterval(() => {}, 1000)
    const node = { details, drain: async () => say('drain'), stop: async () => say('stop'), done: new Promise(() => {}) }
    process.exit(await runStart({ env: { MIDGE_DATA_DIR: 'memory' }, ...${JSON.stringify(args)} }, async () => {
      ${node}
      setImmediate(say, 'started')
      return node
    }))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  child.stdout.on('data', data => {
    text += String(data)
    child.emit('text')
  })
  child.stderr.on('data', data => {
    text += String(data)
  })
  return Object.assign(child, { text: () => text })
}

async function seen(child: ChildProcess & { text(): string }, wanted: string): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (!child.text().includes(wanted)) await once(child, 'text', { signal })
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'close', { signal: AbortSignal.timeout(20_000) })
  return child.exitCode
}

function events(text: string): string[] {
  return [...text.matchAll(/"event":"([\w.]+)"/g)].map(match => match[1] ?? '')
}

/** What the fake node was asked to do, in order; log lines are written asynchronously and may stand in between. */
function steps(text: string): string[] {
  return text.split('\n').filter(line => line === 'drain' || line === 'stop')
}

test('SIGTERM drains, then stops, then exits 0', async () => {
  const child = startFake('')
  await seen(child, 'started')
  child.kill('SIGTERM')
  assert.equal(await ended(child), 0)
  assert.deepEqual(steps(child.text()), ['drain', 'stop'])
  assert.deepEqual(events(child.text()), ['node.draining', 'node.drained'])
})

test('a second SIGTERM exits at once', async () => {
  const child = startFake('node.drain = () => { say("drain"); return new Promise(() => {}) }')
  await seen(child, 'started')
  child.kill('SIGTERM')
  await seen(child, 'drain')
  child.kill('SIGTERM')
  assert.equal(await ended(child), 1)
  assert.deepEqual(events(child.text()), ['node.draining', 'node.killed'])
})

test('one Ctrl-C that arrives twice, as npm makes it, still drains', async () => {
  const child = startFake('node.drain = () => new Promise(resolve => setTimeout(resolve, 200))')
  await seen(child, 'started')
  child.kill('SIGINT')
  await seen(child, 'node.draining')
  child.kill('SIGINT')
  assert.equal(await ended(child), 0)
  assert.deepEqual(events(child.text()), ['node.draining', 'node.drained'])
})

test('an uncaught failure is logged, drains and exits 1', async () => {
  const child = startFake('setTimeout(() => { throw new Error("broken invariant") }, 50)')
  assert.equal(await ended(child), 1)
  assert.deepEqual(steps(child.text()), ['drain', 'stop'])
  assert.match(child.text(), /"event":"node\.crashed".*broken invariant/)
})

test('a lost promise that fails is logged and exits 1', async () => {
  const child = startFake('setTimeout(() => { void Promise.reject(new Error("lost")) }, 50)')
  assert.equal(await ended(child), 1)
  assert.match(child.text(), /"event":"node\.crashed".*lost/)
})

test('a node that ends by itself sets the exit code', async () => {
  const child = startFake('node.done = Promise.resolve(3)')
  assert.equal(await ended(child), 3)
})

test('a port in use is one line and exit code 1', async () => {
  const child = startFake(
    'throw new BrokerError("MIDGE_PORT_IN_USE", "0.0.0.0:1883 is in use: set `listeners.tcp.port`")',
  )
  assert.equal(await ended(child), 1)
  assert.equal(child.text(), 'midge: MIDGE_PORT_IN_USE: 0.0.0.0:1883 is in use: set `listeners.tcp.port`\n')
})

test('--details prints the box where standard output is no terminal', async () => {
  const child = startFake('', { details: true })
  await seen(child, 'started')
  assert.match(child.text(), /│ Password +pw +\(generated\) *│/)
  child.kill('SIGTERM')
  assert.equal(await ended(child), 0)
  const plain = startFake('')
  await seen(plain, 'started')
  assert.doesNotMatch(plain.text(), /Password/)
  plain.kill('SIGTERM')
  await ended(plain)
})

test('status prints the report of a running node, and fails in one line without one', async () => {
  const report = {
    version: '1.2.3',
    nodeId: 'n1',
    uptimeSeconds: 5,
    ready: false,
    reasons: ['the store does not answer'],
    durability: { setting: 'everysec', sentence: 'A sentence.' },
    store: 'redis',
    cluster: { nodes: ['n1', 'n2'] },
    listeners: [{ transport: 'tcp', host: '0.0.0.0', port: 1883 }],
    instancePorts: { open: 0, failed: [] },
    counts: { connections: 1, sessions: 2, subscriptions: 3, messagesReceived: 4, messagesSent: 5, messagesDropped: 6 },
    eventLoopLagMs: 0,
  }
  const server = createServer((_request, response) => response.end(JSON.stringify(report))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const child = spawn(process.execPath, [main, 'status', '--url', url])
  let out = ''
  child.stdout.on('data', data => {
    out += String(data)
  })
  // A node that is not ready is no success for a script that asks.
  assert.equal(await ended(child), 1)
  assert.match(out, /n1 \(Midge 1\.2\.3\), up 5 s\nready +no: the store does not answer/)
  assert.match(out, /A sentence\.\ncluster +n1, n2\n/)
  server.close()
  await once(server, 'close')
  const { code, err } = midge(['status', '--url', url])
  assert.equal(code, 1)
  assert.match(err, /^midge: no status from http:\/\/127\.0\.0\.1:\d+\/status \(connect ECONNREFUSED[^\n]+\n$/)
})
