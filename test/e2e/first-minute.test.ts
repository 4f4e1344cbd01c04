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
  assert.match(byNpm.node.stdout, /^│ API key {4}midge_operator_[\w-]{32} +│$/m)
  assert.doesNotMatch(byNpm.node.stdout, /WebSocket|\boff\b/)
  assert.doesNotMatch(byCommand.node.stdout, /Password|API key/)
})
