import { setTimeout as delay } from 'node:timers/promises'
import { type BenchClient, inParallel, openClient } from './client.ts'
import { measureConnects, measureFleet } from './fleet.ts'
import { Flow, Publisher, Receiver } from './flow.ts'
import type { Job, Outcome } from './job.ts'
import { Latencies } from './latency.ts'
import { residentBytes, UsageMeter } from './usage.ts'
import { type FrameLayout, frameLayout, publishFrames, topicName } from './wire.ts'

const CONNECTS_AT_ONCE = 50
const VERIFIED_MESSAGES = 200
const VERIFY_TIMEOUT_MS = 15_000
/** A broker that delivers nothing for this long while the bound is reached has dropped what is due. */
const STALL_MS = 3000
const DRAIN_QUIET_MS = 3000
const DRAIN_MAX_MS = 15_000
/** Packet ids of a paced publisher: more than it can have unacknowledged in a run that is worth reading. */
const PACED_IDS = 16_384
const WARM_CONNECTIONS = 500
const SETTLE_MS = 3000

/** All connections of a run, with every flow known to work before anything is measured. */
class Field {
  readonly flows: Flow[] = []
  readonly receivers: Receiver[] = []
  readonly publishers: Publisher[] = []
  readonly layout: FrameLayout
  readonly #job: Job
  #lost: Error | undefined

  constructor(job: Job) {
    this.#job = job
    this.layout = frameLayout(job.qos, job.payloadBytes, topicName(0))
    for (let i = 0; i < job.topics; i++) {
      this.flows.push(new Flow(topicName(i), job.subscribers / job.topics, Math.floor(job.outstandingMax / job.topics)))
    }
  }

  async open(): Promise<void> {
    const { subscribePort, publishPort, qos, topics, isPersistent } = this.#job
    await inParallel(this.#job.subscribers, CONNECTS_AT_ONCE, async i => {
      const client = await this.#connect(subscribePort, `bench-sub-${i}`, !isPersistent)
      const flow = this.#flow(i % topics)
      await client.subscribe(flow.topic, qos)
      this.receivers.push(new Receiver(this.#watch(client), flow, this.layout))
    })
    await inParallel(this.#job.publishers, CONNECTS_AT_ONCE, async i => {
      const client = await this.#connect(publishPort, `bench-pub-${i}`, true)
      const count = this.#job.isMixed ? topics : 1
      const flows = Array.from({ length: count }, (_, step) => this.#flow((i + step) % topics))
      this.publishers.push(new Publisher(this.#watch(client), flows, this.layout, this.#job.unackedMax))
    })
  }

  #flow(index: number): Flow {
    const flow = this.flows[index]
    if (flow === undefined) throw new RangeError(`flow ${index}`)
    return flow
  }

  #connect(port: number, clientId: string, cleanSession: boolean): Promise<BenchClient> {
    const { user, password } = this.#job
    return openClient({ port, clientId, cleanSession, user, password })
  }

  #watch(client: BenchClient): BenchClient {
    client.onLost = error => {
      this.#lost ??= error
    }
    return client
  }

  /** @throws when a connection was lost, for then the figures mean nothing */
  assertWhole(): void {
    if (this.#lost !== undefined) throw this.#lost
  }

  get due(): number {
    return this.flows.reduce((sum, flow) => sum + flow.due, 0)
  }

  get received(): number {
    return this.flows.reduce((sum, flow) => sum + flow.received, 0)
  }

  /** Waits until everything due has come, or nothing comes any more. */
  async drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MAX_MS
    let last = this.received
    let lastAt = performance.now()
    while (this.received < this.due && performance.now() < deadline) {
      await delay(10)
      if (this.received !== last) lastAt = performance.now()
      else if (performance.now() - lastAt > DRAIN_QUIET_MS) return
      last = this.received
    }
  }

  /** Sends numbered messages slowly: all have to come, each once and in order. */
  async verify(): Promise<void> {
    const expected = new Map<Receiver, number>()
    for (const receiver of this.receivers) {
      expected.set(receiver, 0)
      receiver.onFrame = (bytes, payloadAt) => {
        const number = bytes.readUInt32BE(payloadAt)
        const wanted = expected.get(receiver)
        if (number !== wanted) throw new Error(`${receiver.flow.topic}: message ${number} instead of ${wanted}`)
        expected.set(receiver, number + 1)
      }
    }
    // One publisher a topic: two would have an order each.
    const used = [...new Map(this.publishers.map(publisher => [publisher.topic, publisher])).values()]
    const perStep = 10
    for (let from = 0; from < VERIFIED_MESSAGES; from += perStep) {
      for (const publisher of used) publisher.write(this.#numbered(publisher.topic, from, perStep), perStep)
      const deadline = performance.now() + VERIFY_TIMEOUT_MS
      while (this.received < this.due) {
        this.assertWhole()
        if (performance.now() > deadline) throw new Error(`verification: ${this.received} of ${this.due} came`)
        await delay(1)
      }
    }
    for (const receiver of this.receivers) receiver.onFrame = undefined
  }

  #numbered(topic: string, from: number, count: number): Buffer {
    const frames = publishFrames(this.layout, [topic], count)
    for (let i = 0; i < count; i++) frames.writeUInt32BE(from + i, i * this.layout.bytes + this.layout.payloadOffset)
    return frames
  }

  close(): void {
    for (const { client } of [...this.receivers, ...this.publishers]) client.close()
  }
}

/** Publishes without a pause until told to stop. */
class Pump {
  readonly #field: Field
  readonly #stallTimer: NodeJS.Timeout
  #isScheduled = false
  #isStopped = false
  #lastReceived = -1

  constructor(field: Field) {
    this.#field = field
    const schedule = (): void => this.#schedule()
    for (const receiver of field.receivers) receiver.onProgress = schedule
    for (const publisher of field.publishers) publisher.onReady = schedule
    this.#stallTimer = setInterval(() => this.#checkStall(), STALL_MS)
    schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isStopped) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      if (this.#isStopped) return
      for (const publisher of this.#field.publishers) publisher.pump()
    })
  }

  #checkStall(): void {
    const received = this.#field.received
    if (received === this.#lastReceived) for (const flow of this.#field.flows) flow.forgive()
    this.#lastReceived = received
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    clearInterval(this.#stallTimer)
  }
}

async function measureThroughput(job: Job, field: Field): Promise<Outcome> {
  const pump = new Pump(field)
  await delay(job.warmUpMs)
  const meter = new UsageMeter(job.brokerPids)
  const startMs = performance.now()
  const before = field.received
  await delay(job.measureMs)
  const perSecond = (field.received - before) / ((performance.now() - startMs) / 1000)
  const usage = meter.read()
  pump.stop()
  await field.drain()
  field.assertWhole()
  const { due, received } = field
  return { perSecond, dropped: due - received, sent: due, received, ...usage }
}

/** Publishes with even pace, a millisecond's worth at a time, and notes when each message arrives. */
async function measureLatency(job: Job, field: Field): Promise<Outcome> {
  const startMs = performance.now()
  const measuredFromMs = startMs + job.warmUpMs
  const latencies = new Latencies(measuredFromMs)
  const endMs = measuredFromMs + job.measureMs
  for (const receiver of field.receivers) {
    receiver.onFrame = (bytes, payloadAt) => latencies.note(bytes.readDoubleBE(payloadAt))
  }
  const templates = field.publishers.map(({ topic }) => publishFrames(field.layout, [topic], PACED_IDS))
  const nextId = field.publishers.map(() => 0)
  const publish = (index: number, count: number): void => {
    const [publisher, template] = [field.publishers[index], templates[index]]
    if (publisher === undefined || template === undefined) return
    const size = field.layout.bytes
    const frames = Buffer.allocUnsafe(count * size)
    for (let i = 0; i < count; i++) {
      const id = nextId[index] ?? 0
      nextId[index] = (id + 1) % PACED_IDS
      template.copy(frames, i * size, id * size, (id + 1) * size)
      frames.writeDoubleBE(performance.now(), i * size + field.layout.payloadOffset)
    }
    publisher.write(frames, count)
  }
  let meter: UsageMeter | undefined
  let sent = 0
  while (performance.now() < endMs) {
    const nowMs = performance.now()
    if (nowMs >= measuredFromMs) meter ??= new UsageMeter(job.brokerPids)
    const dueCount = Math.floor(((nowMs - startMs) * job.ratePerSecond) / 1000) - sent
    // Spread over the publishers, a run for each, beginning with another one every time.
    const each = Math.ceil(dueCount / field.publishers.length)
    for (let left = dueCount; left > 0; left -= each) {
      publish(Math.floor(sent / Math.max(each, 1)) % field.publishers.length, Math.min(each, left))
      sent += Math.min(each, left)
    }
    await delay(1)
  }
  const usage = (meter ?? new UsageMeter([])).read()
  await field.drain()
  field.assertWhole()
  const { due, received } = field
  const perSecond = latencies.count / (job.measureMs / 1000)
  return { latencyMs: latencies.summary(), perSecond, dropped: due - received, sent: due, received, ...usage }
}

async function openIdle(job: Job, prefix: string, count: number): Promise<BenchClient[]> {
  const clients: BenchClient[] = []
  await inParallel(count, CONNECTS_AT_ONCE, async i => {
    const { user, password, publishPort: port } = job
    clients.push(await openClient({ port, clientId: `${prefix}-${i}`, cleanSession: true, user, password }))
  })
  return clients
}

async function measureConnections(job: Job): Promise<Outcome> {
  // So that the broker's own start-up work is not counted as memory of connections.
  for (const client of await openIdle(job, 'warm', WARM_CONNECTIONS)) client.close()
  await delay(SETTLE_MS)
  const bytesBefore = residentBytes(job.brokerPids)
  const meter = new UsageMeter(job.brokerPids)
  const startMs = performance.now()
  const clients = await openIdle(job, 'idle', job.connections)
  const connectsPerSecond = job.connections / ((performance.now() - startMs) / 1000)
  const usage = meter.read()
  await delay(SETTLE_MS)
  const bytesPerConnection = (residentBytes(job.brokerPids) - bytesBefore) / job.connections
  for (const client of clients) client.close()
  return { connectsPerSecond, bytesPerConnection, ...usage }
}

/** Does a job in this process. @throws when the broker refuses, loses a connection or delivers something else */
export async function runJob(job: Job): Promise<Outcome> {
  if (job.kind === 'connections') return measureConnections(job)
  if (job.kind === 'connects') return measureConnects(job)
  if (job.kind === 'fleet') return measureFleet(job)
  const field = new Field(job)
  await field.open()
  await field.verify()
  const outcome = await (job.kind === 'latency' ? measureLatency(job, field) : measureThroughput(job, field))
  field.close()
  return outcome
}
