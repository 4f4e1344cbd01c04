import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import { killLeftovers, TestProcess } from '../support/test-process.ts'
import { until } from '../support/until.ts'

after(killLeftovers)

/** Starts a node without any setting but its ports and a store in memory. */
async function startFresh(...args: string[]): Promise<{ node: TestProcess; log: (event: string) => LogLine }> {
  const env = {
    MIDGE_DATA_DIR: 'memory',
    MIDGE_LISTENERS_TCP_PORT: String(await freePort()),
    MIDGE_HTTP_PORT: String(await freePort()),
    MIDGE_NODE_ID: 'alone',
  }
  const node = new TestProcess(args.join(' '), process.execPath, args, { env })
  const lines = (): LogLine[] =>
    node.stdout.split('\n').flatMap(line => (line.startsWith('{') ? [JSON.parse(line) as LogLine] : []))
  const log = (event: string): LogLine => {
    const line = lines().find(entry => entry.event === event)
    assert.ok(line, `no ${event} in ${node.tail()}`)
    return line
  }
  await until(
    'the node to be ready',
    () => {
      if (!node.isRunning) throw new Error(node.tail())
      return node.stdout.includes('"event":"node.ready"')
    },
    30_000,
    () => node.tail(),
  )
  return { node, log }
}

interface LogLine {
  event: string
  msg: string
  nodes: string[]
  listeners: { transport: string }[]
}

it('npm start and midge start open the same listeners, and one node counts as one', async () => {
  const byNpm = await startFresh('scripts/start.mjs')
  const byCommand = await startFresh('packages/broker-node/bin/midge.js', 'start')
  for (const { node, log } of [byNpm, byCommand]) {
    assert.deepEqual(
      log('node.ready').listeners.map(({ transport }) => transport),
      ['tcp'],
    )
    assert.deepEqual(log('cluster.nodes').nodes, ['alone'])
    assert.equal(log('cluster.nodes').msg, '1 node in the cluster')
    node.kill('SIGTERM')
    assert.deepEqual(await node.end(), { code: 0, signal: null })
  }
  // The password stays off a log that is collected, unless a person asked for it.
  assert.match(byNpm.node.stdout, /^│ MQTT port {2}\d+ +│$/m)
  assert.match(byNpm.node.stdout, /^│ Password {3}\w{20} {2}\(generated\) +│$/m)
  assert.doesNotMatch(byNpm.node.stdout, /WebSocket|\boff\b|\bAPI\b/)
  assert.doesNotMatch(byCommand.node.stdout, /Password/)
})

/** An option that has a node run this module before its own. */
function preload(module: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(module)}`
}

/** Tells of every full collection that somebody asked for. */
const TELL_OF_COLLECTIONS = `
  import { constants, PerformanceObserver } from 'node:perf_hooks'
  const isAskedFor = ({ kind, flags }) =>
    kind === constants.NODE_PERFORMANCE_GC_MAJOR && (flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0
  new PerformanceObserver(list => {
    for (const { detail } of list.getEntries()) if (isAskedFor(detail)) console.error('collected')
  }).observe({ entryTypes: ['gc'] })
`
const FAIL_COLLECTIONS = `
  import { syncBuiltinESMExports } from 'node:module'
  import vm from 'node:vm'
  vm.runInNewContext = () => {
    console.error('asked')
    throw new Error('no new context here')
  }
  syncBuiltinESMExports()
`

it('a node leaves no garbage of its start for its first clients', async () => {
  const { node } = await startFresh(preload(TELL_OF_COLLECTIONS), 'packages/broker-node/bin/midge.js', 'start')
  await until(
    'a collection',
    () => node.stderr.includes('collected'),
    5000,
    () => node.tail(),
  )
  assert.equal(node.stderr, 'collected\n')
  node.kill('SIGTERM')
  assert.deepEqual(await node.end(), { code: 0, signal: null })
})

it('a node starts also where the garbage of its start cannot be collected', async () => {
  const { node } = await startFresh(preload(FAIL_COLLECTIONS), 'packages/broker-node/bin/midge.js', 'start')
  assert.equal(node.stderr, 'asked\n')
  node.kill('SIGTERM')
  assert.deepEqual(await node.end(), { code: 0, signal: null })
})
