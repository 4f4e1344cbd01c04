import { type OpenedSession, parseShare } from '@midge/protocol-core'
import type { GroupQueues } from '../delivery/group-queues.ts'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import { describe } from '../ground/describe.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Routers } from '../routing/routers.ts'
import type { Session } from '../sessions/session.ts'
import type { OpenClient } from './open-client.ts'

/** What the steps after `Store.open` work with. */
export interface ResumeParts {
  readonly services: Pick<EngineServices, 'counters' | 'directory' | 'hooks' | 'logger'>
  readonly routers: Routers
  readonly groups: GroupQueues
}

/** After CONNACK: the subscriptions of the session hold for this connection, and what waits for it is sent. */
export function resumeSession(parts: ResumeParts, client: OpenClient, opened: OpenedSession): void {
  const { services, routers } = parts
  const { counters, directory, hooks, logger } = services
  const { connection, router, session } = client
  const { instance, clientId } = session
  for (const packetId of opened.inboundPacketIds) session.addInbound(packetId)
  const known = router.storedSubscriptions(clientId)
  for (const subscription of opened.subscriptions) {
    session.subscribe(subscription)
    router.addLive(session, subscription)
    // A node may have died between the session's record and the directory: the record is the truth.
    if (known?.has(subscription.topicFilter) !== true) directory.addStored(instance, clientId, subscription)
    routers.announce(instance, subscription.topicFilter)
  }
  counters.subscriptionsCurrent += opened.subscriptions.length
  if (opened.sessionPresent) counters.sessionsResumed++
  hooks.connected(connection)
  if (logger.isLevelEnabled('info')) {
    const fields = { event: 'client.connected', ...describe(connection), protocolVersion: connection.version }
    logger.info(fields, 'client connected')
  }
  session.pump()
  for (const { topicFilter } of opened.subscriptions) {
    if (parseShare(topicFilter) !== undefined) resumeGroup(parts, session, topicFilter)
  }
  hooks.ready(connection, opened.sessionPresent)
}

function resumeGroup({ groups }: ResumeParts, session: Session, group: string): void {
  groups
    .resume(session, group)
    .then(() => groups.drain(session.instance, group))
    .catch((error: unknown) => session.outlet.onStoreFailure(error))
}

/** After `register`, which makes a displaced connection of this node leave them too. */
export function leaveEndedGroups(parts: ResumeParts, session: Session, opened: OpenedSession): void {
  const filters = opened.endedSubscriptions.map(subscription => subscription.topicFilter)
  parts.groups
    .leave(session.instance, filters)
    .catch((error: unknown) => reportBackgroundFailure(parts.services, 'end of a share group', error))
}
