import type { TestClient } from './clients.ts'

/** Topics of which a message of one client reaches the other, who subscribes to everything; ends both. */
export async function topicsPassing(
  sender: TestClient,
  receiver: TestClient,
  topics: readonly string[],
): Promise<string[]> {
  await receiver.subscribe('#', 1)
  for (const topic of topics) await sender.publish(topic, 'x', 1)
  // What was delivered comes before the answer to what is asked for after it.
  await receiver.client.unsubscribeAsync('none')
  await sender.end()
  await receiver.end()
  return receiver.received.map(({ topic }) => topic).sort()
}
