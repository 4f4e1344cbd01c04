import type { BrokerName, Setting } from './brokers.ts'
import type { Job } from './job.ts'

/** A goal of the design: this broker's figure against another one's in the same run. */
export interface Goal {
  readonly against: BrokerName
  /** Rates have to be at least this many times the other's; latencies at most. */
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
/** At a low rate it takes seconds until a broker that is compiled while it runs is compiled. */
const PACED_WARM_UP_MS = 5000

const fifteenfold: readonly Goal[] = [
  { against: 'mosquitto', ratio: 15 },
  { against: 'nats', ratio: 1 },
]

function defineCase(name: string, title: string, job: Partial<BenchCase['job']>, rest: Partial<BenchCase>): BenchCase {
  return { name, title, setting: oneNode, goals: [], without: [], ...rest, job: { ...base, ...job } }
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
        { against: 'mosquitto', ratio: 6 },
        { against: 'nats', ratio: 1 },
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
        { against: 'mosquitto', ratio: 10 },
        { against: 'aedes', ratio: 25 },
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
        { against: 'mosquitto', ratio: 1 },
        { against: 'aedes', ratio: 8 },
      ],
    },
  ),
  defineCase(
    'latency-1000',
    'QoS 1 at 1,000 msg/s, latency',
    { kind: 'latency', qos: 1, ratePerSecond: 1000, warmUpMs: PACED_WARM_UP_MS },
    { goals: [{ against: 'mosquitto', ratio: 1.5 }] },
  ),
  defineCase(
    'latency-30000',
    'QoS 1 at 30,000 msg/s, latency',
    { kind: 'latency', qos: 1, ratePerSecond: 30_000, warmUpMs: PACED_WARM_UP_MS },
    { goals: [{ against: 'mosquitto', ratio: 1 }] },
  ),
  defineCase(
    'connections',
    '10,000 idle connections',
    { kind: 'connections', connections: 10_000 },
    { setting: { ...oneNode, isAnonymous: true } },
  ),
]
