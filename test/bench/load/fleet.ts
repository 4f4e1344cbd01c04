import { setTimeout as delay } from 'node:timers/promises'
import { type BenchClient, inParallel, openClient } from './client.ts'
import { Flow, Receiver } from './flow.ts'
import type { Job, Outcome } from './job.ts'
import { Latencies } from './latency.ts'
import { UsageMeter } from './usage.ts'
import { deviceTopic, type FrameLayout, frameLayout, PUBACK_BYTES, publishFrames } from './wire.ts'

const CONNECTS_AT_ONCE = 50
const VERIFY_TIMEOUT_MS = 15_000
const DRAIN_MS = 3000
const PAUSE_MS = 0.1
const pause = new Int32Array(new SharedArrayBuffer(4))
const PACKET_IDS = 65_535
/** Connects whose CONNACK may be outstanding: beyond it the broker cannot keep the pace, and the round fails. */
const OPENINGS_MAX = 2000

/**
 * Runs `step` as often as the pace asks for until `endMs`. A timer wakes once a millisecond at best, and the bursts of
 * that would be no fleet: the pauses here are far shorter, and between them everything that has come is read.
 */
async function keepPace(ratePerSecond: number, endMs: number, step: (count: number) => void): Promise<void> {
  const startMs = performance.now()
  let done = 0
  for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
    for (const due = ((nowMs - startMs) * ratePerSecond) / 1000; done < due; done++) step(done)
    await new Promise<void>(resolve => setImmediate(resolve))
    Atomics.wait(pause, 0, 0, PAUSE_MS)
  }
}

/** A device: its own topic, one message in each write, all from one frame that is filled in again. */
class Device {
  readonly client: BenchClient
  readonly #frame: Buffer
  readonly #layout: FrameLayout
  #sent = 0
  #ackBytes = 0

  constructor(client: BenchClient, topic: string, layout: FrameLayout) {
    this.client = client
    this.#layout = layout
    this.#frame = publishFrames(layout, [topic], 1)
    client.onBytes = (bytes, length) => {
      if (bytes[0] !== 0x40) throw new Error(`not a PUBACK: ${bytes[0]}`)
      this.#ackBytes += length
    }
  }

  /** Messages sent and not acknowledged; 0 at QoS 0. */
  get unacked(): number {
    return this.#layout.packetIdOffset === 0 ? 0 : this.#sent - Math.floor(this.#ackBytes / PUBACK_BYTES)
  }

  publish(): void {
    const { socket } = this.client
    // The kernel takes a frame at once unless the broker has stopped reading; then the bytes are still to be sent.
    const frame = socket.writableLength === 0 ? this.#frame : Buffer.from(this.#frame)
    const { packetIdOffset, payloadOffset } = this.#layout
    if (packetIdOffset > 0) frame.writeUInt16BE((this.#sent % PACKET_IDS) + 1, packetIdOffset)
    this.#sent++
    frame.writeDoubleBE(performance.now(), payloadOffset)
    socket.write(frame)
  }
}

/** Devices with a topic each, and few subscribers that share the topics among them by wildcards. */
class Fleet {
  readonly #job: Job
  readonly #layout: FrameLayout
  readonly #devices: Device[] = []
  readonly #receivers: Receiver[] = []
  #lost: Error | undefined
  /** Deliveries that publishing has made due. */
  due = 0

  constructor(job: Job) {
    this.#job = job
    this.#layout = frameLayout(job.qos, job.payloadBytes, deviceTopic(0, 0))
  }

  async open(): Promise<void> {
    const { publishPort, subscribePort, qos, publishers, subscribers } = this.#job
    await inParallel(subscribers, CONNECTS_AT_ONCE, async i => {
      const client = await this.#connect(subscribePort, `bench-sub-${i}`)
      await client.subscribe(deviceTopic(i, '+'), qos)
      this.#receivers.push(new Receiver(client, new Flow(deviceTopic(i, '+'), 1, 0), this.#layout))
    })
    const devices = new Array<Device>(publishers)
    await inParallel(publishers, CONNECTS_AT_ONCE, async i => {
      const client = await this.#connect(publishPort, `bench-device-${i}`)
      devices[i] = new Device(client, deviceTopic(i % subscribers, i), this.#layout)
    })
    this.#devices.push(...devices)
  }

  async #connect(port: number, clientId: string): Promise<BenchClient> {
    const { user, password } = this.#job
    const client = await openClient({ port, clientId, cleanSession: true, user, password })
    client.onLost = error => {
      this.#lost ??= error
    }
    return client
  }

  /** Every device publishes once, and every message has to come. */
  async verify(): Promise<void> {
    for (let i = 0; i < this.#devices.length; i++) this.publish(i)
    await this.drain(VERIFY_TIMEOUT_MS)
    if (this.received !== this.due) throw new Error(`verification: ${this.received} of ${this.due} came`)
  }

  publish(index: number): void {
    this.#devices[index % this.#devices.length]?.publish()
    this.due++
  }

  watch(latencies: Latencies): void {
    for (const receiver of this.#receivers) {
      receiver.onFrame = (bytes, payloadAt) => latencies.note(bytes.readDoubleBE(payloadAt))
    }
  }

  get received(): number {
    return this.#receivers.reduce((sum, { flow }) => sum + flow.received, 0)
  }

  get #unacked(): number {
    return this.#devices.reduce((sum, { unacked }) => sum + unacked, 0)
  }

  /** Waits until everything due has come and is acknowledged. @throws when a connection was lost */
  async drain(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while ((this.received < this.due || this.#unacked > 0) && performance.now() < deadline) await delay(10)
    if (this.#lost !== undefined) throw this.#lost
  }

  close(): void {
    for (const { client } of [...this.#receivers, ...this.#devices]) client.close()
  }
}

function cpuMicrosEach(usage: { brokerCores: number; seconds: number }, count: number): number {
  return (usage.brokerCores * usage.seconds * 1e6) / count
}

/** Many connections publish at an even pace, one message in each write: what the broker pays for a message. */
export async function measureFleet(job: Job): Promise<Outcome> {
  const fleet = new Fleet(job)
  await fleet.open()
  await fleet.verify()
  const measuredFromMs = performance.now() + job.warmUpMs
  const latencies = new Latencies(measuredFromMs)
  fleet.watch(latencies)
  const endMs = measuredFromMs + job.measureMs
  let measured: { meter: UsageMeter; received: number } | undefined
  await keepPace(job.ratePerSecond, endMs, count => {
    if (measured === undefined && performance.now() >= measuredFromMs)
      measured = { meter: new UsageMeter(job.brokerPids), received: fleet.received }
    fleet.publish(count)
  })
  const usage = (measured?.meter ?? new UsageMeter([])).read()
  const count = fleet.received - (measured?.received ?? 0)
  await fleet.drain(DRAIN_MS)
  fleet.close()
  const { due, received } = fleet
  return {
    latencyMs: latencies.summary(),
    perSecond: count / usage.seconds,
    cpuMicrosEach: cpuMicrosEach(usage, count),
    dropped: due - received,
    sent: due,
    received,
    ...usage,
  }
}

/** Clients connect at an even pace and leave when they have their CONNACK: what the broker pays for a connect. */
export async function measureConnects(job: Job): Promise<Outcome> {
  const { user, password, publishPort: port } = job
  const measuredFromMs = performance.now() + job.warmUpMs
  let measured: { meter: UsageMeter; done: number } | undefined
  let [openings, done] = [0, 0]
  let failure: unknown
  await keepPace(job.ratePerSecond, measuredFromMs + job.measureMs, count => {
    if (measured === undefined && performance.now() >= measuredFromMs)
      measured = { meter: new UsageMeter(job.brokerPids), done }
    if (++openings > OPENINGS_MAX) throw new Error(`${openings} connects wait for their CONNACK`)
    openClient({ port, clientId: `bench-${count}`, cleanSession: true, user, password }).then(
      client => {
        client.close()
        openings--
        done++
      },
      (error: unknown) => {
        failure ??= error
      },
    )
  })
  const usage = (measured?.meter ?? new UsageMeter([])).read()
  const count = done - (measured?.done ?? 0)
  if (failure !== undefined) throw failure
  return { connectsPerSecond: count / usage.seconds, cpuMicrosEach: cpuMicrosEach(usage, count), ...usage }
}
