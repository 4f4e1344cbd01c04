import { ReasonCode } from '@midge/protocol-core'
import type { ClientSelection } from '../engine/broker-core.ts'
import type { TenancyObserver } from '../tenancy/tenancy.ts'

/** Whoever has the connections of this node. */
export interface ConnectionCloser {
  closeClients(selection: ClientSelection, why: { reasonCode: number; reason: string }): Promise<number>
}

const REVOKED = {
  reasonCode: ReasonCode.notAuthorized,
  reason: 'the user was removed, disabled or has another password',
}
const SUSPENDED = { reasonCode: ReasonCode.administrativeAction, reason: 'the instance is suspended' }
const BANNED = { reasonCode: ReasonCode.administrativeAction, reason: 'the user or the client id is banned' }
const REMOVED = { reasonCode: ReasonCode.administrativeAction, reason: 'the instance was removed' }

/**
 * Closes connections of this node whose reason to be there has gone. Changed rules close nothing: they count from the
 * next packet on.
 */
export function revocations(core: ConnectionCloser): TenancyObserver {
  return {
    onUser(instance, before, after) {
      if (before === undefined) return
      const { username } = before
      const stays = after?.isEnabled === true && after.epoch === before.epoch
      if (!stays) void core.closeClients({ instance, username }, REVOKED)
    },
    onBan(instance, _before, after) {
      if (after?.kind === 'username') void core.closeClients({ instance, username: after.value }, BANNED)
      if (after?.kind === 'clientId') void core.closeClients({ instance, clientId: after.value }, BANNED)
    },
    onInstance(before, after) {
      if (before === undefined) return
      if (after === undefined) void core.closeClients({ instance: before.id }, REMOVED)
      else if (after.state === 'suspended') void core.closeClients({ instance: before.id }, SUSPENDED)
    },
  }
}
