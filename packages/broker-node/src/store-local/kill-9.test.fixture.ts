/*
 * A process to be killed: commits QoS 1 messages to one session in batches and prints the number of each message
 * when, and only when, its commit has been acknowledged. Arguments: directory, durability.
 */
import { writeSync } from 'node:fs'
import { EMPTY_BYTES, Message } from '@midge/protocol-core'
import type { Durability } from '../config/schema.ts'
import { openLocalStore } from './open.ts'

const STDOUT = 1
const UNBOUNDED = 1_000_000_000
const encoder = new TextEncoder()

function numbered(n: number): Message {
  const fields = { qos: 1, retain: true, properties: EMPTY_BYTES, expiresAtMs: 0, publisherId: 'publisher' } as const
  const topicName = `count/${n % 10}`
  return new Message({
    ...fields,
    topicName,
    topicBytes: encoder.encode(topicName),
    payload: encoder.encode(String(n)),
  })
}

async function run(dataDir: string, durability: Durability): Promise<void> {
  const limits = {
    offlineQueueMessages: UNBOUNDED,
    offlineQueueBytes: UNBOUNDED,
    onlineQueueMessages: UNBOUNDED,
    onlineQueueBytes: UNBOUNDED,
  }
  const store = await openLocalStore({ dataDir, durability, limits })
  const nowMs = Date.now()
  const common = {
    instance: 'default',
    username: undefined,
    nodeId: 'node',
    cleanStart: false,
    sessionExpirySeconds: 3600,
    nowMs,
  }
  const will = { message: numbered(0), willDelaySeconds: 0, messageExpirySeconds: -1 }
  const { epoch } = await store.open({ ...common, clientId: 'subscriber', will })
  const subscription = { topicFilter: 'count/+', qos: 1, noLocal: false, retainAsPublished: false } as const
  await store.saveSubscriptions('default', 'subscriber', epoch, [
    { ...subscription, retainHandling: 0, subscriptionId: 7 },
  ])
  const sessions = [{ clientId: 'subscriber', qos: 1 as const, retain: false, subscriptionIds: undefined }]
  let next = 1
  // Several batches are on their way at any time, as they are from several publishers.
  const publish = async (): Promise<void> => {
    for (;;) {
      const first = next
      next += 3
      await store.commit(
        [first, first + 1, first + 2].map(n => ({
          instance: 'default',
          message: numbered(n),
          sessions,
          groups: [],
          retain: true,
          inbound: undefined,
        })),
      )
      // Written at once: what a killed process had only buffered would not count as printed.
      writeSync(STDOUT, `${first}\n${first + 1}\n${first + 2}\n`)
    }
  }
  await Promise.all([publish(), publish(), publish(), publish()])
}

const [, , dataDir, durability] = process.argv
await run(dataDir ?? '', durability === 'fsync' ? 'fsync' : 'everysec')
