import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { NODE_CATALOGUE } from './catalogue.ts'
import { renderMetricsDoc } from './document.ts'
import { createNodeMetrics } from './node-metrics.ts'
import type { NodeCounters, NodeSources } from './sources.ts'

const definitions = [...NODE_CATALOGUE.values()].flat()

/** Counters in which every number differs from every other, so that a mixed-up field shows. */
function distinctCounters(): NodeCounters & Record<string, unknown> {
  let next = 1000
  const number = (): number => next++
  const numbers = (length: number): number[] => Array.from({ length }, number)
  return {
    connectionsOpened: number(),
    connectionsClosed: number(),
    connectionsCurrent: number(),
    connectionsRefusedTotal: number(),
    sessionsCurrent: number(),
    sessionsResumed: number(),
    sessionsTakenOver: number(),
    sessionsExpired: number(),
    bytesReceived: number(),
    bytesSent: number(),
    packetsReceived: numbers(16),
    packetsSent: numbers(16),
    messagesReceived: numbers(3),
    messagesSent: numbers(3),
    messagesUnmatched: number(),
    messagesStored: number(),
    retainedSent: number(),
    subscriptionsCurrent: number(),
    authenticationFailures: number(),
    authenticationsBusy: number(),
    authenticationBackOffs: number(),
    hashesWaitingCurrent: number(),
    webhookEventsDelivered: number(),
    webhookRequestsFailed: number(),
    webhookEventsDropped: new Map([['refused', number()]]),
    publishersHeldBack: number(),
    keepAliveTimeouts: number(),
    connectTimeouts: number(),
    drainTimeouts: number(),
    subackBarrierTimeouts: number(),
    willsPublished: number(),
    commitFailures: number(),
    fencedWrites: number(),
    linkMessagesSent: number(),
    linkMessagesReceived: number(),
    linkFramesLost: number(),
    linkFramesUnreadable: number(),
    redisOutages: number(),
    redisDeafnesses: number(),
    tlsErrors: number(),
    limitsMet: new Map([['plan_connections', number()]]),
    dropped: new Map([
      ['queue_full', number()],
      ['new_reason', number()],
    ]),
    closedByReason: new Map([
      [0x8e, number()],
      [0x04, number()],
    ]),
    wrongProtocol: new Map([['tls', number()]]),
  }
}

const counters = distinctCounters()
const sources: NodeSources = {
  counters,
  nodeId: 'n"1',
  version: '1.2.3',
  packetNames: ['reserved', 'connect', 'connack', 'publish'],
  dropReasons: ['queue_full', 'expired'],
  webhookDropReasons: ['too_old'],
  facts: () => ({ isReady: true, clusterNodes: 3 }),
}

/** Reads the text format strictly; throws on a line that is none. */
function parse(text: string): { values: Map<string, number>; types: Map<string, string> } {
  const values = new Map<string, number>()
  const types = new Map<string, string>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    const type = /^# TYPE (\w+) (\w+)$/.exec(line)
    if (type !== null) {
      types.set(type[1] ?? '', type[2] ?? '')
      continue
    }
    const sample = /^(\w+(?:\{(?:\w+="(?:[^"\\]|\\.)*",?)+\})?) (\S+)$/.exec(line)
    assert(sample !== null, `not a sample: ${line}`)
    values.set(sample[1] ?? '', Number(sample[2]))
  }
  return { values, types }
}

test('a scrape parses and holds the value of every counter, twice in a row', async () => {
  const metrics = createNodeMetrics(sources)
  await metrics.text()
  const { values } = parse(await metrics.text())
  const expected: Record<string, number | undefined> = {
    midge_connections: counters.connectionsCurrent,
    midge_received_bytes_total: counters.bytesReceived,
    'midge_packets_received_total{type="publish"}': counters.packetsReceived[3],
    'midge_packets_sent_total{type="connect"}': counters.packetsSent[1],
    'midge_messages_sent_total{qos="2"}': counters.messagesSent[2],
    'midge_messages_dropped_total{reason="queue_full"}': counters.dropped.get('queue_full'),
    'midge_messages_dropped_total{reason="new_reason"}': counters.dropped.get('new_reason'),
    'midge_messages_dropped_total{reason="expired"}': 0,
    'midge_webhook_events_dropped_total{reason="refused"}': counters.webhookEventsDropped.get('refused'),
    'midge_webhook_events_dropped_total{reason="too_old"}': 0,
    'midge_connections_closed_by_reason_total{reason_code="0x8E"}': counters.closedByReason.get(0x8e),
    'midge_connections_closed_by_reason_total{reason_code="0x04"}': counters.closedByReason.get(4),
    'midge_limits_met_total{limit="plan_connections"}': counters.limitsMet.get('plan_connections'),
    'midge_wrong_protocol_total{protocol="tls"}': counters.wrongProtocol.get('tls'),
    'midge_node_info{node_id="n\\"1",version="1.2.3"}': 1,
    midge_node_ready: 1,
    midge_cluster_nodes: 3,
  }
  for (const [name, value] of Object.entries(expected)) assert.equal(values.get(name), value, name)
})

test('every field that is counted is served under some metric', async () => {
  const { values } = parse(await createNodeMetrics(sources).text())
  const served = new Set(values.values())
  for (const [field, value] of Object.entries(counters)) {
    if (typeof value === 'number') assert(served.has(value), field)
  }
})

test('a scrape sees what changed since the last one', async () => {
  const own = { ...distinctCounters(), bytesSent: 5 }
  const metrics = createNodeMetrics({ ...sources, counters: own })
  assert.equal(parse(await metrics.text()).values.get('midge_sent_bytes_total'), 5)
  own.bytesSent = 7
  assert.equal(parse(await metrics.text()).values.get('midge_sent_bytes_total'), 7)
})

test('the process is measured too', async () => {
  const { values } = parse(await createNodeMetrics(sources).text())
  for (const name of ['nodejs_eventloop_lag_seconds', 'nodejs_heap_size_used_bytes', 'process_open_fds']) {
    assert(values.has(name), name)
  }
})

test('names follow the rules and no label may hold a client id or a topic', () => {
  const names = definitions.map(definition => definition.name)
  assert.equal(new Set(names).size, names.length)
  for (const { name, type, unit, labels, help } of definitions) {
    assert.match(name, /^midge_[a-z_]+$/)
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    if (unit === 'bytes') assert.match(name, /_bytes/, name)
    assert.match(help, /^[A-Z0-9].*\.$/, name)
    for (const label of labels) assert.doesNotMatch(label, /client|topic|user/, name)
  }
})

test('docs/metrics.md names every metric of a scrape and no other', async () => {
  const doc = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8')
  const documented = [...doc.matchAll(/^\| `(\w+)` \|/gm)].map(match => match[1])
  const { types } = parse(await createNodeMetrics(sources).text())
  assert.deepEqual([...documented].sort(), [...types.keys()].sort())
  assert.equal(doc, await renderMetricsDoc())
})
