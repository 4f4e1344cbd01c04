import { createInterface } from 'node:readline'
import { BrokerError } from '@midge/protocol-core'
import type { IClientPublishOptions, MqttClient } from 'mqtt'
import { findTarget, readInput, type TargetFlags } from './broker-target.ts'
import { connect, MessageFailure, reasonOf } from './connect-once.ts'
import { MessageExit } from './message-exit.ts'

/** Options of `midge pub`. */
export interface PublishFlags extends TargetFlags {
  qos: 0 | 1 | 2
  retain?: boolean
  file?: string
  stdin?: boolean
  lines?: boolean
  empty?: boolean
  /** `name=value` each. */
  property?: string[]
  contentType?: string
  responseTopic?: string
  /** Seconds. */
  expiry?: number
}

const STDIN_FD = 0
const NO_MATCHING_SUBSCRIBERS = 0x10
const NOT_AUTHORISED = 0x87

/**
 * Publishes one message, or one for each line of standard input, and waits until the broker has them.
 *
 * @returns the exit code, one of `MessageExit`
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for flags that do not fit together
 * @throws MessageFailure what the broker refused
 */
export async function runPublish(topic: string, message: string | undefined, flags: PublishFlags): Promise<number> {
  checkSource(message, flags)
  const options = publishOptions(flags)
  const target = findTarget(flags)
  const payload = flags.lines ? undefined : payloadOf(message, flags)
  const client = await connect(target)
  try {
    if (payload !== undefined) await publish(client, topic, { payload, options })
    else {
      for await (const line of createInterface({ input: process.stdin })) {
        await publish(client, topic, { payload: line, options })
      }
    }
  } finally {
    await client.endAsync()
  }
  return MessageExit.ok
}

function invalid(text: string): BrokerError {
  return new BrokerError('MIDGE_CONFIG_INVALID', text)
}

function checkSource(message: string | undefined, flags: PublishFlags): void {
  const given = [message !== undefined, flags.file !== undefined, flags.stdin, flags.lines, flags.empty]
  if (given.filter(Boolean).length !== 1) {
    throw invalid('say the message once: as an argument, or with --file, --stdin, --lines or --empty')
  }
  if (flags.passwordStdin && (flags.stdin || flags.lines)) {
    throw invalid('standard input is the message: take --password-file for the password')
  }
}

function payloadOf(message: string | undefined, flags: PublishFlags): string | Buffer {
  if (flags.file !== undefined) return readInput(flags.file, '--file')
  return flags.stdin ? readInput(STDIN_FD, '--stdin') : (message ?? '')
}

function publishOptions(flags: PublishFlags): IClientPublishOptions {
  const { property, contentType, responseTopic, expiry } = flags
  const properties = {
    ...(property === undefined ? {} : { userProperties: userProperties(property) }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
  }
  const hasProperties = Object.keys(properties).length > 0
  if (hasProperties && flags.mqtt !== 5) throw invalid('properties of a message need --mqtt 5')
  return { qos: flags.qos, retain: flags.retain === true, ...(hasProperties ? { properties } : {}) }
}

function userProperties(pairs: readonly string[]): Record<string, string[]> {
  const all = new Map<string, string[]>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw invalid('--property has to look like name=value')
    const name = pair.slice(0, at)
    all.set(name, [...(all.get(name) ?? []), pair.slice(at + 1)])
  }
  return Object.fromEntries(all)
}

async function publish(
  client: MqttClient,
  topic: string,
  what: { payload: string | Buffer; options: IClientPublishOptions },
): Promise<void> {
  // The library never settles a publish whose connection is gone.
  const gone = new Promise<never>((_resolve, reject) => {
    client.once('close', () => {
      reject(new MessageFailure(MessageExit.refused, `the connection ended before \`${topic}\` was acknowledged`))
    })
  })
  try {
    await Promise.race([client.publishAsync(topic, what.payload, what.options), gone])
  } catch (error) {
    if (!(error instanceof Error) || error instanceof MessageFailure) throw error
    const code = (error as Error & { code?: unknown }).code
    if (code === NO_MATCHING_SUBSCRIBERS) return
    const exit = code === NOT_AUTHORISED ? MessageExit.notAuthorised : MessageExit.failure
    throw new MessageFailure(exit, `\`${topic}\` was not published (${reasonOf(error)})`, error)
  }
}
