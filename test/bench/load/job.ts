/** What the generator process is asked to do: connect, verify, load, count. Sent over the process channel as JSON. */
export interface Job {
  readonly kind: 'throughput' | 'latency' | 'connections' | 'fleet' | 'connects'
  readonly publishPort: number
  readonly subscribePort: number
  /** `undefined` connects without a name and a password. */
  readonly user: string | undefined
  readonly password: string | undefined
  readonly qos: 0 | 1
  readonly publishers: number
  readonly subscribers: number
  /** Publisher and subscriber `i` use topic `i % topics`; a fleet has a topic for each publisher instead. */
  readonly topics: number
  /** Every publisher takes all topics in turn, beginning with its own. */
  readonly isMixed: boolean
  /** The subscribers' sessions outlive their connections. */
  readonly isPersistent: boolean
  readonly payloadBytes: number
  /** Deliveries that may be on their way at one time, over all topics: the same discipline for every broker. */
  readonly outstandingMax: number
  /** QoS 1: unacknowledged messages of one publisher. */
  readonly unackedMax: number
  /** Latency and fleet: messages a second over all publishers; connects: connects a second. */
  readonly ratePerSecond: number
  /** Connections only: how many stay open. */
  readonly connections: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Processes whose CPU time and memory are read. */
  readonly brokerPids: readonly number[]
}

/** Figures of one run; a field that a kind of job does not measure is absent. */
export interface Outcome {
  /** Deliveries a second over the measured interval. */
  readonly perSecond?: number
  /** Deliveries that were due and never came, over the whole run. */
  readonly dropped?: number
  readonly sent?: number
  readonly received?: number
  readonly latencyMs?: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number }
  readonly connectsPerSecond?: number
  readonly bytesPerConnection?: number
  /** CPU time of the broker's processes for each delivery, or for each connect. */
  readonly cpuMicrosEach?: number
  /** Length of the measured interval. */
  readonly seconds: number
  /** Share of one core that the brokers' processes and the generator used while measured; 1 is a whole core. */
  readonly brokerCores: number
  readonly generatorCores: number
  /** The same for everything else on the machine, Redis included: what disturbs the run. */
  readonly otherCores: number
}

/** What the generator process sends back. */
export type Reply = { readonly outcome: Outcome } | { readonly error: string }
