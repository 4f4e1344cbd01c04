import type { IPublishPacket, ISubscriptionGrant, MqttClient } from 'mqtt'
import { findTarget, type TargetFlags } from './broker-target.ts'
import { connect, MessageFailure } from './connect-once.ts'
import { MessageExit } from './message-exit.ts'

/** Options of `midge sub`. */
export interface SubscribeFlags extends TargetFlags {
  qos: 0 | 1 | 2
  /** Messages after which it ends. */
  count?: number
  json?: boolean
  /** Seconds after which it ends when `count` is not reached. */
  timeout?: number
  payloadOnly?: boolean
}

const REFUSED = 0x80

/**
 * Prints what arrives, a line each, until SIGINT, SIGTERM, `--count` or `--timeout`.
 *
 * @returns the exit code, one of `MessageExit`
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for flags that do not fit together
 * @throws MessageFailure what the broker refused
 */
export async function runSubscribe(filters: readonly string[], flags: SubscribeFlags): Promise<number> {
  const client = await connect(findTarget(flags))
  // Listens first: retained messages arrive with the acknowledgement.
  const end = received(client, flags)
  // A refused subscription must not leave a rejection that nobody awaits.
  end.catch(() => {})
  try {
    await subscribe(client, filters, flags)
    return await end
  } finally {
    await client.endAsync(true)
  }
}

async function subscribe(client: MqttClient, filters: readonly string[], flags: SubscribeFlags): Promise<void> {
  let grants: ISubscriptionGrant[]
  try {
    grants = await client.subscribeAsync([...filters], { qos: flags.qos })
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    const isRefused = cause instanceof Error && 'packet' in cause
    const what = `the subscription to ${filters.join(', ')} was refused (${text})`
    if (isRefused) throw new MessageFailure(MessageExit.notAuthorised, `${what}: check the rules of the user`, cause)
    throw new MessageFailure(MessageExit.failure, what, cause)
  }
  const refused = grants.filter(grant => grant.qos >= REFUSED).map(grant => grant.topic)
  if (refused.length > 0) {
    const text = `the subscription to ${refused.join(', ')} was refused: check the rules of the user`
    throw new MessageFailure(MessageExit.notAuthorised, text)
  }
}

function received(client: MqttClient, flags: SubscribeFlags): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0
    const stop = (): void => resolve(MessageExit.ok)
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    // Whoever reads the output has gone, as `head` does.
    process.stdout.once('error', stop)
    if (flags.timeout !== undefined) {
      setTimeout(() => resolve(MessageExit.timeout), flags.timeout * 1000).unref()
    }
    client.on('message', (topic, payload, packet) => {
      if (flags.count !== undefined && count >= flags.count) return
      count += 1
      process.stdout.write(`${lineOf(topic, payload, { packet, flags })}\n`)
      if (count === flags.count) resolve(MessageExit.ok)
    })
    client.once('close', () => {
      reject(new MessageFailure(MessageExit.refused, 'the broker closed the connection'))
    })
  })
}

function lineOf(topic: string, payload: Buffer, how: { packet: IPublishPacket; flags: SubscribeFlags }): string {
  const { packet, flags } = how
  const text = payload.toString('utf8')
  if (!flags.json) return flags.payloadOnly ? text : `${topic} ${text}`
  // What is no text survives as base64.
  const isText = Buffer.from(text, 'utf8').equals(payload)
  return JSON.stringify({
    topic,
    ...(isText ? { payload: text } : { payloadBase64: payload.toString('base64') }),
    qos: packet.qos,
    retain: packet.retain,
    ...(packet.properties === undefined ? {} : { properties: packet.properties }),
  })
}
