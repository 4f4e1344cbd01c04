import type { OpenedSession } from '@midge/protocol-core'
import type { EngineServices } from '../ground/services.ts'
import type { Session } from '../sessions/session.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { WillPublisher } from '../sessions/will-publisher.ts'

/** What the end of earlier connections works with. */
export interface EarlierParts {
  readonly services: Pick<EngineServices, 'directory' | 'link' | 'nodeId'>
  readonly sessions: SessionRegistry
  readonly wills: WillPublisher
}

/**
 * What the opening of a session means for what was before: its connection lets go, wherever it is; subscriptions that
 * have ended are forgotten by every node (v5 [MQTT-3.1.2-4]); wills that are due are published.
 * @returns resolves when CONNACK may be sent
 * @throws BrokerError `MIDGE_STORE_UNAVAILABLE` when a will could not be stored
 */
export async function replaceEarlier(parts: EarlierParts, session: Session, opened: OpenedSession): Promise<void> {
  const { directory } = parts.services
  const { instance, clientId, outlet } = session
  const { claimedWills, displacedWill, dueWills, endedSubscriptions } = opened
  for (const { topicFilter } of endedSubscriptions) directory.removeStored(instance, clientId, topicFilter)
  const saidGoodbye = letGo(parts, session, opened)
  const forgotten = endedSubscriptions.length > 0 ? directory.settled() : undefined
  if (displacedWill !== undefined || dueWills.length > 0 || claimedWills.length > 0) {
    const client = { instance, clientId, saidGoodbye, isThere: () => !outlet.isClosed }
    await parts.wills.settle(opened, client)
  }
  await forgotten
}

/** @returns true when the displaced connection had ended with DISCONNECT */
async function letGo({ services, sessions }: EarlierParts, session: Session, opened: OpenedSession): Promise<boolean> {
  const { previous, displacedWill } = opened
  if (previous === undefined) return false
  const { instance, clientId } = session
  const { nodeId, epoch } = previous
  if (nodeId !== services.nodeId) {
    return (await services.link.takeover(nodeId, instance, clientId, epoch)) === 'goodbye'
  }
  // Without a will it is closed when this session is registered.
  return displacedWill !== undefined && (await sessions.release(instance, clientId, epoch)) === 'goodbye'
}
