import type { BrokerName, Setting } from './brokers.ts'
import type { Job } from './job.ts'

/** What the tables call the figures that goals are about. */
export type GoalFigure = 'msg/s' | 'p99' | 'CPU per message' | 'CPU per connect'

/** A goal of the design: this broker's figure against another one's in the same run. */
export interface Goal {
  readonly figure: GoalFigure
  readonly against: BrokerName
  /** Rates have to be at least this many times the other's; latencies and costs at most. */
  readonly ratio: number
}

/** What is measured, without the parts that a run decides. */
export interface BenchCase {
  readonly name: string
  readonly title: string
  readonly setting: Setting
  readonly job: Omit<Job, 'publishPort' | 'subscribePort' | 'user' | 'password' | 'measureMs' | 'brokerPids'>
  readonly goals: readonly Goal[]
  /** Brokers that cannot take part. */
  readonly without: readonly BrokerName[]
}

const oneNode: Setting = { isCluster: false, isOnRedis: false, isAnonymous: false }

const base: BenchCase['job'] = {
  kind: 'throughput',
  qos: 0,
  publishers: 10,
  subscribers: 10,
  topics: 10,
  isMixed: false,
  isPersistent: false,
  payloadBytes: 64,
  outstandingMax: 50_000,
  unackedMax: 500,
  ratePerSecond: 0,
  connections: 0,
  warmUpMs: 1000,
}
/** At a low rate it takes seconds until a broker is compiled, and 8 s until its first full collection, which comes once. */
const PACED_WARM_UP_MS = 10_000

const fifteenfold: readonly Goal[] = [
  { figure: 'msg/s', against: 'mosquitto', ratio: 15 },
  { figure: 'msg/s', against: 'nats', ratio: 1 },
]
const FLEET_PUBLISHERS = 4000
const FLEET_WARM_UP_MS = 3000
const FLEET_CONNECTS_PER_SECOND = 1000

function defineCase(name: string, title: string, job: Partial<BenchCase['job']>, rest: Partial<BenchCase>): BenchCase {
  return { name, title, setting: oneNode, goals: [], without: [], ...rest, job: { ...base, ...job } }
}

/** A fleet of devices: the cost of a message that comes alone, and how long it takes. */
function defineFleet(qos: 0 | 1, ratePerSecond: number, isLatencyGoal: boolean): BenchCase {
  const rate = ratePerSecond.toLocaleString('en-US')
  const devices = FLEET_PUBLISHERS.toLocaleString('en-US')
  const goals: Goal[] = [{ figure: 'CPU per message', against: 'mosquitto', ratio: 1.15 }]
  if (isLatencyGoal) goals.push({ figure: 'p99', against: 'mosquitto', ratio: 1.5 })
  return defineCase(
    `fleet-qos${qos}-${ratePerSecond}`,
    `QoS ${qos}, ${devices} → 10 at ${rate} msg/s, one message per write`,
    { kind: 'fleet', qos, publishers: FLEET_PUBLISHERS, ratePerSecond, warmUpMs: FLEET_WARM_UP_MS },
    { goals },
  )
}

/** Every case of the bench, in the order of its tables. */
export const CASES: readonly BenchCase[] = [
  defineCase('qos0-10x10', 'QoS 0, 10 → 10', {}, { goals: fifteenfold }),
  defineCase('qos1-10x10', 'QoS 1, 10 → 10, clean sessions', { qos: 1 }, { goals: fifteenfold }),
  defineCase('qos0-10x10-mixed', 'QoS 0, 10 → 10, each publisher over all topics in turn', { isMixed: true }, {}),
  defineCase(
    'qos0-1x500',
    'QoS 0, 1 → 500, deliveries',
    { publishers: 1, subscribers: 500, topics: 1 },
    { goals: fifteenfold },
  ),
  defineCase(
    'qos0-200x200',
    'QoS 0, 200 → 200',
    { publishers: 200, subscribers: 200, topics: 200 },
    {
      goals: [
        { figure: 'msg/s', against: 'mosquitto', ratio: 6 },
        { figure: 'msg/s', against: 'nats', ratio: 1 },
      ],
    },
  ),
  defineCase(
    'qos0-2nodes-10x10',
    'QoS 0, 10 → 10, published on one node, received on another (others: Mosquitto on one node)',
    {},
    {
      setting: { ...oneNode, isCluster: true },
      without: ['nats'],
      goals: [
        { figure: 'msg/s', against: 'mosquitto', ratio: 10 },
        { figure: 'msg/s', against: 'aedes', ratio: 25 },
      ],
    },
  ),
  defineCase(
    'qos1-persistent-10x10',
    'QoS 1, 10 → 10, persistent sessions (Midge and Aedes: stored in Redis)',
    { qos: 1, isPersistent: true },
    {
      setting: { ...oneNode, isOnRedis: true },
      goals: [
        { figure: 'msg/s', against: 'mosquitto', ratio: 1 },
        { figure: 'msg/s', against: 'aedes', ratio: 8 },
      ],
    },
  ),
  defineCase(
    'latency-1000',
    'QoS 1 at 1,000 msg/s, latency',
    { kind: 'latency', qos: 1, ratePerSecond: 1000, warmUpMs: PACED_WARM_UP_MS },
    { goals: [{ figure: 'p99', against: 'mosquitto', ratio: 1.5 }] },
  ),
  defineCase(
    'latency-30000',
    'QoS 1 at 30,000 msg/s, latency',
    { kind: 'latency', qos: 1, ratePerSecond: 30_000, warmUpMs: PACED_WARM_UP_MS },
    { goals: [{ figure: 'p99', against: 'mosquitto', ratio: 1 }] },
  ),
  defineCase(
    'connections',
    '10,000 idle connections',
    { kind: 'connections', connections: 10_000 },
    { setting: { ...oneNode, isAnonymous: true } },
  ),
  defineFleet(0, 12_000, true),
  defineFleet(0, 20_000, false),
  defineFleet(1, 12_000, true),
  defineFleet(1, 20_000, false),
  defineCase(
    'fleet-connect',
    `${FLEET_CONNECTS_PER_SECOND.toLocaleString('en-US')} connects a second, CONNECT to CONNACK`,
    { kind: 'connects', ratePerSecond: FLEET_CONNECTS_PER_SECOND, warmUpMs: FLEET_WARM_UP_MS },
    {
      setting: { ...oneNode, isAnonymous: true },
      goals: [{ figure: 'CPU per connect', against: 'mosquitto', ratio: 2.5 }],
    },
  ),
]
