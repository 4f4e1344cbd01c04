import type { OpenedSession, OpenRequest } from '@midge/protocol-core'
import { UNLIMITED } from '../ground/usage.ts'
import { Session, type SessionFields, type SessionParts } from '../sessions/session.ts'
import { ScriptedOutlet } from './scripted-outlet.ts'
import type { TestServices } from './test-services.ts'

/** Share groups of which a session has none. */
const NO_GROUPS: SessionParts['groups'] = {
  hasBacklog: false,
  ack: () => undefined,
  release: () => undefined,
  onRoom: () => undefined,
}

/** A session without a connection: what it sends is in its outlet. */
export interface TestSession {
  session: Session
  outlet: ScriptedOutlet
}

export function testSession(services: TestServices, fields: Partial<SessionFields> = {}): TestSession {
  const outlet = new ScriptedOutlet()
  const parts: SessionParts = { services, groups: NO_GROUPS, ackFlushes: { add: () => undefined } }
  const session = new Session(parts, {
    instance: 'default',
    clientId: 'c',
    epoch: 1,
    isStored: false,
    outlet,
    expirySeconds: 0,
    hasWill: false,
    receiveMax: 10,
    queue: { headSeq: 1, tailSeq: 0, sentSeq: 0 },
    usage: UNLIMITED,
    ...fields,
  })
  return { session, outlet }
}

/** Opens a session in the store as CONNECT does. */
export async function openStored(
  services: TestServices,
  request: Partial<OpenRequest> = {},
): Promise<TestSession & { opened: OpenedSession }> {
  const { nodeId, nowMs, store } = services
  const all: OpenRequest = {
    instance: 'default',
    clientId: 'c',
    username: undefined,
    nodeId,
    cleanStart: false,
    sessionExpirySeconds: 60,
    will: undefined,
    nowMs: nowMs(),
    ...request,
  }
  const opened = await store.open(all)
  const { instance, clientId, sessionExpirySeconds: expirySeconds } = all
  const fields = {
    instance,
    clientId,
    epoch: opened.epoch,
    expirySeconds,
    queue: opened,
    hasWill: all.will !== undefined,
  }
  return { ...testSession(services, { ...fields, isStored: expirySeconds > 0 }), opened }
}
