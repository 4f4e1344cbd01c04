import type { NodeCounters, NodeSources } from './sources.ts'

/** One value of a metric with the labels that tell it from the others. */
export interface Sample {
  value: number
  labels?: Record<string, string>
}

/** One metric: all there is to know of it, declared once. */
export interface MetricDefinition {
  name: string
  type: 'counter' | 'gauge'
  unit: 'bytes' | 'count' | 'flag'
  help: string
  labels: readonly string[]
  read(sources: NodeSources): Sample[]
}

/** Names of the fields that hold one number. */
type NumberField = { [K in keyof NodeCounters]: NodeCounters[K] extends number ? K : never }[keyof NodeCounters]

function field(
  type: 'counter' | 'gauge',
  name: string,
  from: NumberField,
  help: string,
  unit: 'bytes' | 'count' = 'count',
): MetricDefinition {
  return { name, type, unit, help, labels: [], read: ({ counters }) => [{ value: counters[from] }] }
}

function byQos(name: string, from: 'messagesReceived' | 'messagesSent', help: string): MetricDefinition {
  const read = ({ counters }: NodeSources): Sample[] =>
    [0, 1, 2].map(qos => ({ value: counters[from][qos] ?? 0, labels: { qos: String(qos) } }))
  return { name, type: 'counter', unit: 'count', help, labels: ['qos'], read }
}

function byType(name: string, from: 'packetsReceived' | 'packetsSent', help: string): MetricDefinition {
  const read = ({ counters, packetNames }: NodeSources): Sample[] =>
    packetNames.slice(1).map((type, index) => ({ value: counters[from][index + 1] ?? 0, labels: { type } }))
  return { name, type: 'counter', unit: 'count', help, labels: ['type'], read }
}

/** Reasons that have not been seen are 0. */
function byReason(counts: ReadonlyMap<string, number>, reasons: readonly string[]): Sample[] {
  return [...new Set([...reasons, ...counts.keys()])].map(reason => ({
    value: counts.get(reason) ?? 0,
    labels: { reason },
  }))
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0').toUpperCase()}`
}

const CONNECTIONS: MetricDefinition[] = [
  field('counter', 'midge_connections_opened_total', 'connectionsOpened', 'Network connections accepted.'),
  field('counter', 'midge_connections_closed_total', 'connectionsClosed', 'Network connections that have ended.'),
  field('gauge', 'midge_connections', 'connectionsCurrent', 'Network connections open now.'),
  field(
    'counter',
    'midge_connections_refused_total',
    'connectionsRefusedTotal',
    'CONNECT packets answered with a failure.',
  ),
  {
    name: 'midge_connections_closed_by_reason_total',
    type: 'counter',
    unit: 'count',
    help: 'Connections that the server closed, by MQTT 5 reason code.',
    labels: ['reason_code'],
    read: ({ counters }) =>
      [...counters.closedByReason].map(([code, value]) => ({ value, labels: { reason_code: hex(code) } })),
  },
  {
    name: 'midge_wrong_protocol_total',
    type: 'counter',
    unit: 'count',
    help: 'Connections whose first bytes were not MQTT, by what they looked like.',
    labels: ['protocol'],
    read: ({ counters }) => [...counters.wrongProtocol].map(([protocol, value]) => ({ value, labels: { protocol } })),
  },
  field(
    'counter',
    'midge_authentication_failures_total',
    'authenticationFailures',
    'CONNECT packets refused for their credentials.',
  ),
  field(
    'counter',
    'midge_authentications_busy_total',
    'authenticationsBusy',
    'Logins told "server busy" because no password hash could be had for them in time.',
  ),
  field(
    'counter',
    'midge_authentication_back_offs_total',
    'authenticationBackOffs',
    'Logins told "server busy" because the same user had failed too often from the same address.',
  ),
  field(
    'counter',
    'midge_publishers_held_back_total',
    'publishersHeldBack',
    'Times a client was read no further because it had published more than its plan allows.',
  ),
  {
    name: 'midge_limits_met_total',
    type: 'counter',
    unit: 'count',
    help: 'Times a limit of a plan or of a user was met, by the name it has in the log.',
    labels: ['limit'],
    read: ({ counters }) => [...counters.limitsMet].map(([limit, value]) => ({ value, labels: { limit } })),
  },
  field('gauge', 'midge_password_hashes_waiting', 'hashesWaitingCurrent', 'Passwords that wait for their hash.'),
  field('counter', 'midge_connect_timeouts_total', 'connectTimeouts', 'Connections closed for no CONNECT in time.'),
  field('counter', 'midge_tls_errors_total', 'tlsErrors', 'TLS connections that failed before MQTT.'),
  field(
    'counter',
    'midge_keep_alive_timeouts_total',
    'keepAliveTimeouts',
    'Connections closed for silence beyond one and a half times their keep-alive.',
  ),
  field(
    'counter',
    'midge_output_drain_timeouts_total',
    'drainTimeouts',
    'Connections closed because their socket took no byte in time.',
  ),
]

const SESSIONS: MetricDefinition[] = [
  field('gauge', 'midge_sessions', 'sessionsCurrent', 'Sessions this node owns now.'),
  field('counter', 'midge_sessions_resumed_total', 'sessionsResumed', 'Connections that found their session again.'),
  field(
    'counter',
    'midge_sessions_taken_over_total',
    'sessionsTakenOver',
    'Connections closed because the same client id connected elsewhere.',
  ),
  field('counter', 'midge_sessions_expired_total', 'sessionsExpired', 'Sessions ended by their expiry.'),
  field('gauge', 'midge_subscriptions', 'subscriptionsCurrent', 'Subscriptions of the sessions this node owns now.'),
  field(
    'counter',
    'midge_suback_barrier_timeouts_total',
    'subackBarrierTimeouts',
    'SUBACKs sent before every live node had confirmed the route.',
  ),
  field('counter', 'midge_wills_published_total', 'willsPublished', 'Will messages published by this node.'),
  field(
    'counter',
    'midge_fenced_writes_total',
    'fencedWrites',
    'Writes of this node that the store refused because the session has a newer owner.',
  ),
]

const TRAFFIC: MetricDefinition[] = [
  field('counter', 'midge_received_bytes_total', 'bytesReceived', 'Bytes read from clients.', 'bytes'),
  field('counter', 'midge_sent_bytes_total', 'bytesSent', 'Bytes written to clients.', 'bytes'),
  byType('midge_packets_received_total', 'packetsReceived', 'MQTT packets from clients, by type.'),
  byType('midge_packets_sent_total', 'packetsSent', 'MQTT packets to clients, by type.'),
  byQos('midge_messages_received_total', 'messagesReceived', 'PUBLISH packets from clients, by QoS.'),
  byQos('midge_messages_sent_total', 'messagesSent', 'PUBLISH packets to clients, by QoS.'),
  field(
    'counter',
    'midge_messages_unmatched_total',
    'messagesUnmatched',
    'Messages published with nobody to get them.',
  ),
  field('counter', 'midge_messages_stored_total', 'messagesStored', 'Messages the store has taken.'),
  field('counter', 'midge_retained_sent_total', 'retainedSent', 'Retained messages sent to new subscriptions.'),
  {
    name: 'midge_messages_dropped_total',
    type: 'counter',
    unit: 'count',
    help: 'Deliveries that did not happen, by reason.',
    labels: ['reason'],
    read: ({ counters, dropReasons }) => byReason(counters.dropped, dropReasons),
  },
  field(
    'counter',
    'midge_store_commit_failures_total',
    'commitFailures',
    'Batches of messages the store did not take.',
  ),
]

const WEBHOOKS: MetricDefinition[] = [
  field(
    'counter',
    'midge_webhook_events_delivered_total',
    'webhookEventsDelivered',
    'Events that the servers of webhooks have accepted.',
  ),
  field(
    'counter',
    'midge_webhook_requests_failed_total',
    'webhookRequestsFailed',
    'Requests that the servers of webhooks have not accepted; most are made again.',
  ),
  {
    name: 'midge_webhook_events_dropped_total',
    type: 'counter',
    unit: 'count',
    help: 'Events that a webhook was not told, by reason.',
    labels: ['reason'],
    read: ({ counters, webhookDropReasons }) => byReason(counters.webhookEventsDropped, webhookDropReasons),
  },
]

const CLUSTER: MetricDefinition[] = [
  field('counter', 'midge_link_messages_sent_total', 'linkMessagesSent', 'Messages sent to other nodes.'),
  field('counter', 'midge_link_messages_received_total', 'linkMessagesReceived', 'Messages from other nodes.'),
  field('counter', 'midge_link_frames_lost_total', 'linkFramesLost', 'Frames of other nodes that never arrived.'),
  field(
    'counter',
    'midge_link_frames_unreadable_total',
    'linkFramesUnreadable',
    'Frames of other nodes that were damaged or of an unknown version.',
  ),
  field('counter', 'midge_redis_outages_total', 'redisOutages', 'Times that Redis did not answer.'),
  field(
    'counter',
    'midge_redis_deaf_total',
    'redisDeafnesses',
    'Times that the connection to Redis for channels was open and brought nothing.',
  ),
  {
    name: 'midge_cluster_nodes',
    type: 'gauge',
    unit: 'count',
    help: 'Live nodes of the cluster as this node sees it, itself included.',
    labels: [],
    read: ({ facts }) => [{ value: facts().clusterNodes }],
  },
  {
    name: 'midge_node_ready',
    type: 'gauge',
    unit: 'flag',
    help: '1 while the node is ready for clients, else 0.',
    labels: [],
    read: ({ facts }) => [{ value: facts().isReady ? 1 : 0 }],
  },
  {
    name: 'midge_node_info',
    type: 'gauge',
    unit: 'flag',
    help: 'Always 1; the labels say which node and version this is.',
    labels: ['node_id', 'version'],
    read: ({ nodeId, version }) => [{ value: 1, labels: { node_id: nodeId, version } }],
  },
]

/** The metrics of a node by the title they have in the documentation. No label holds a client id or a topic. */
export const NODE_CATALOGUE: ReadonlyMap<string, readonly MetricDefinition[]> = new Map([
  ['Connections', CONNECTIONS],
  ['Sessions', SESSIONS],
  ['Messages and bytes', TRAFFIC],
  ['Webhooks', WEBHOOKS],
  ['Cluster and node', CLUSTER],
])
