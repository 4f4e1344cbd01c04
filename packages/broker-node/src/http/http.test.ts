import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, test } from 'node:test'
import { startHttp } from './server.ts'
import type { StatusReport } from './status-report.ts'

const report: StatusReport = {
  version: '1.2.3',
  nodeId: 'n1',
  uptimeSeconds: 12,
  ready: true,
  reasons: [],
  durability: { setting: 'everysec', sentence: 'A sentence.' },
  store: 'memory',
  cluster: { nodes: ['n1'] },
  listeners: [{ transport: 'tcp', host: '0.0.0.0', port: 1883 }],
  instancePorts: { open: 0, failed: [] },
  counts: {
    connections: 1,
    sessions: 2,
    subscriptions: 3,
    messagesReceived: 4,
    messagesSent: 5,
    messagesDropped: 6,
  },
  eventLoopLagMs: 0,
}
let reasons: string[] = []
const sources = {
  readiness: () => ({ ready: reasons.length === 0, reasons }),
  status: () => report,
  metrics: { contentType: 'text/plain; version=0.0.4', text: async () => 'midge_connections 1\n' },
}
const server = await startHttp({ host: '127.0.0.1', port: 0 }, sources)
after(() => server.stop())

function get(path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${server.port}${path}`)
}

test('GET /livez answers 200 also while the node is not ready', async () => {
  reasons = ['routes are not in sync']
  const response = await get('/livez')
  assert.equal(response.status, 200)
  assert.deepEqual(await response.json(), { live: true })
})

test('GET /readyz follows the readiness and says why not', async () => {
  reasons = ['the store does not answer', 'the lease has run out']
  const unready = await get('/readyz')
  assert.equal(unready.status, 503)
  assert.deepEqual(await unready.json(), { ready: false, reasons })
  reasons = []
  const ready = await get('/readyz')
  assert.equal(ready.status, 200)
  assert.deepEqual(await ready.json(), { ready: true, reasons: [] })
  assert.equal(ready.headers.get('cache-control'), 'no-store')
})

test('GET /status is the report as JSON', async () => {
  const response = await get('/status')
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/)
  assert.deepEqual(await response.json(), report)
})

test('GET /metrics is the text of the metrics under its content type', async () => {
  const response = await get('/metrics')
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4')
  assert.equal(await response.text(), 'midge_connections 1\n')
})

test('another path is a 404 that names the paths', async () => {
  const response = await get('/panel')
  assert.equal(response.status, 404)
  assert.match(await response.text(), /\/readyz/)
})

test('a port in use is named with the key that changes it', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => taken.once('listening', resolve))
  const { port } = taken.address() as { port: number }
  const message = new RegExp(`127\\.0\\.0\\.1:${port} is in use: set \`http\\.port\` \\(MIDGE_HTTP_PORT\\)`)
  await assert.rejects(startHttp({ host: '127.0.0.1', port }, sources), { code: 'MIDGE_PORT_IN_USE', message })
  taken.close()
})
