import { type InstanceName, keepAliveSecondsOf, type Subscription, smallestAfter } from '@midge/protocol-core'
import type { ConnectionFacts, FactsSlice, SubscriptionFacts } from '../../ports.ts'
import { Connection } from '../connection/connection.ts'
import type { Connections } from '../connection/connections.ts'
import type { Routers } from '../routing/routers.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'

/** Between filter and client id in a place of a list: neither can have it. */
const SEPARATOR = '\0'

/** What {@link LiveClients} looks at. */
export interface LiveParts {
  connections: Connections
  sessions: SessionRegistry
  routers: Routers
}

/** The clients of this node, for whoever looks at it; asks only what is there anyway, so it costs nobody anything else. */
export class LiveClients {
  private readonly parts: LiveParts

  constructor(parts: LiveParts) {
    this.parts = parts
  }

  /** In the order of client ids, behind `after`. */
  connections(instance: InstanceName, after: string | undefined, countMax: number): FactsSlice<ConnectionFacts> {
    const ids = smallestAfter(this.clientIds(instance), after, countMax)
    const items = ids.flatMap(clientId => this.connection(instance, clientId) ?? [])
    return { items, next: ids.length < countMax ? undefined : ids.at(-1) }
  }

  connection(instance: InstanceName, clientId: string): ConnectionFacts | undefined {
    const session = this.parts.sessions.sessionOf(instance, clientId)
    const connection = session?.outlet
    if (session === undefined || !(connection instanceof Connection) || connection.isClosed) return undefined
    const { info, username, version, keepAliveMs, openedAtMs } = connection
    return {
      ...{ clientId, username, address: info.remoteAddress, port: info.remotePort, transport: info.transport },
      ...{ protocol: version, keepAliveSeconds: keepAliveSecondsOf(keepAliveMs) },
      ...{ sessionExpirySeconds: session.expirySeconds, connectedAtMs: openedAtMs },
      subscriptionCount: session.subscriptions.size,
    }
  }

  /** How many there are. */
  count(instance: InstanceName): number {
    let count = 0
    for (const _ of this.connectionsOf(instance)) count++
    return count
  }

  /**
   * Subscriptions of sessions that end with their connection, in the order of client ids and filters.
   *
   * @param clientId - only those of this client
   */
  cleanSubscriptions(
    instance: InstanceName,
    slice: { after: string | undefined; countMax: number },
    clientId?: string,
  ): FactsSlice<SubscriptionFacts> {
    const { sessions } = this.parts
    const own = (id: string): ReadonlyMap<string, Subscription> | undefined => {
      const session = sessions.sessionOf(instance, id)
      return session?.isStored === false ? session.subscriptions : undefined
    }
    return sliceOf(clientId === undefined ? this.clientIds(instance) : [clientId], own, slice)
  }

  /** Subscriptions of stored sessions, connected or not: every node knows all of them. As {@link cleanSubscriptions}. */
  storedSubscriptions(
    instance: InstanceName,
    slice: { after: string | undefined; countMax: number },
    clientId?: string,
  ): FactsSlice<SubscriptionFacts> {
    const router = this.parts.routers.of(instance)
    return sliceOf(
      clientId === undefined ? router.storedClientIds() : [clientId],
      id => router.storedSubscriptions(id),
      slice,
    )
  }

  private *connectionsOf(instance: InstanceName): Generator<Connection> {
    for (const connection of this.parts.connections) {
      if (connection.instance === instance && connection.isEstablished && !connection.isClosed) yield connection
    }
  }

  private *clientIds(instance: InstanceName): Generator<string> {
    for (const { clientId } of this.connectionsOf(instance)) yield clientId
  }
}

function sliceOf(
  clientIds: Iterable<string>,
  subscriptionsOf: (clientId: string) => ReadonlyMap<string, Subscription> | undefined,
  { after, countMax }: { after: string | undefined; countMax: number },
): FactsSlice<SubscriptionFacts> {
  const places = smallestAfter(placesOf(clientIds, subscriptionsOf), after, countMax)
  const items = places.flatMap(place => {
    const at = place.indexOf(SEPARATOR)
    const clientId = place.slice(0, at)
    const subscription = subscriptionsOf(clientId)?.get(place.slice(at + 1))
    return subscription === undefined ? [] : { clientId, ...subscription }
  })
  return { items, next: places.length < countMax ? undefined : places.at(-1) }
}

function* placesOf(
  clientIds: Iterable<string>,
  subscriptionsOf: (clientId: string) => ReadonlyMap<string, Subscription> | undefined,
): Generator<string> {
  for (const clientId of clientIds) {
    for (const topicFilter of subscriptionsOf(clientId)?.keys() ?? []) yield `${clientId}${SEPARATOR}${topicFilter}`
  }
}
