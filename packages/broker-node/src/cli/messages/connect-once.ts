import mqtt, { type MqttClient } from 'mqtt'
import type { BrokerTarget } from './broker-target.ts'
import { MessageExit } from './message-exit.ts'

/** What ended a command before its work was done: one line for a person, and the exit code. */
export class MessageFailure extends Error {
  readonly code: number

  constructor(code: number, text: string, cause?: unknown) {
    super(text, { cause })
    this.code = code
  }
}

/** Return codes of CONNACK before MQTT 5 (v3.1.1 table 3.1), and reason codes of v5 that say the same. */
const NOT_AUTHORISED = new Set([4, 5, 0x86, 0x87, 0x8a])

/**
 * Connects once; nothing is tried again, as a script wants to know.
 *
 * @throws MessageFailure `refused`, `notAuthorised` or `timeout`
 */
export async function connect(target: BrokerTarget): Promise<MqttClient> {
  const client = mqtt.connect(target.url, target.options)
  return new Promise((resolve, reject) => {
    const fail = (failure: MessageFailure): void => {
      client.end(true)
      reject(failure)
    }
    const timer = setTimeout(() => {
      fail(new MessageFailure(MessageExit.timeout, `${target.url} did not answer in time: is it an MQTT port?`))
    }, target.options.connectTimeout)
    const settle = (): void => clearTimeout(timer)
    client.once('connect', () => {
      settle()
      resolve(client)
    })
    client.once('error', error => {
      settle()
      fail(connectFailure(target, error))
    })
    client.once('close', () => {
      settle()
      fail(new MessageFailure(MessageExit.refused, `${target.url} closed the connection without an answer`))
    })
  })
}

function connectFailure(target: BrokerTarget, error: Error & { code?: number | string }): MessageFailure {
  if (typeof error.code === 'number') {
    const isLogin = NOT_AUTHORISED.has(error.code)
    const hint = isLogin ? ': check --user and the password' : ''
    const code = isLogin ? MessageExit.notAuthorised : MessageExit.refused
    return new MessageFailure(code, `${target.url} refused the connection (${reasonOf(error)})${hint}`, error)
  }
  const text = `no connection to ${target.url} (${error.message || String(error.code)})`
  return new MessageFailure(MessageExit.refused, `${text}: is the broker running, and is that its address?`, error)
}

/** The words of a reason, without what the library puts before them. */
export function reasonOf(error: Error): string {
  return error.message.replace(/^Connection refused: |^Publish error: /, '')
}
