import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import { BanBook } from '../admission/ban-book.ts'
import { FrontDoor } from '../admission/front-door.ts'
import { HashQueue } from '../admission/hash-queue.ts'
import { LoginHistory } from '../admission/login-history.ts'
import { type LoginSourceParts, LoginSources } from '../admission/login-sources.ts'
import { PasswordAuthenticator } from '../admission/password-authenticator.ts'
import { ScramAuthenticator } from '../admission/scram-authenticator.ts'
import { TenantDirectory } from '../admission/tenant-directory.ts'
import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { HttpCaller } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import type { LoginSource } from '../tenancy/model/login-source.ts'
import type { TenancyParts } from './node-tenancy.ts'

/** Signatures of tokens verified at one time: each takes a fraction of a millisecond. */
const TOKENS_RUNNING_MAX = 4

/** What a door is made of besides its settings. */
export interface DoorParts {
  tenancy: TenancyParts
  caller: HttpCaller
  counters: Counters
  logger: Logger
}

/** Puts the door together. */
export function createDoor(auth: Config['auth'], { tenancy, caller, counters, logger }: DoorParts): FrontDoor {
  const now = (): number => performance.now()
  const nowMs = (): number => Date.now()
  const { tables } = tenancy.plane
  const users = new TenantDirectory(tables, tenancy.proofs)
  const history = new LoginHistory({ failuresMax: auth.failuresMax, backOffMsMax: auth.backOffMsMax, now })
  const room = { waitingMax: auth.hashesWaitingMax, waitMsMax: auth.hashWaitMsMax, counters, now }
  const queue = new HashQueue({ ...room, runningMax: auth.hashesRunningMax })
  const slowQueue = new HashQueue({ ...room, runningMax: 1 })
  const sources = new LoginSources({
    loginsOf: loginSettings(tenancy, auth.anonymous),
    users,
    exchanges: [new ScramAuthenticator({ users, history })],
    passwords: new PasswordAuthenticator({ users, queue, slowQueue, history }),
    caller,
    queue: new HashQueue({ ...room, runningMax: TOKENS_RUNNING_MAX }),
    history,
    counters,
    now,
    nowMs,
  })
  const bans = new BanBook(instance => tables.of(instance).bans.values(), nowMs)
  tenancy.plane.observe({ onBan: instance => bans.changed(instance) })
  return new FrontDoor({
    methodsOf: instance => sources.methodsOf(instance),
    bans,
    instances: tables,
    users,
    rules: tables,
    counters,
    logger,
    now,
  })
}

/** The configuration may let anonymous clients into the instance `default`, whatever its settings say. */
function loginSettings({ plane }: TenancyParts, isAnonymousAllowed: boolean): LoginSourceParts['loginsOf'] {
  let before: readonly LoginSource[] | undefined
  let widened: readonly LoginSource[] | undefined
  return instance => {
    const logins = plane.tables.instances.get(instance)?.settings.logins
    if (!isAnonymousAllowed || instance !== DEFAULT_INSTANCE || logins === undefined) return logins
    if (before !== logins) {
      before = logins
      widened = [...logins, { kind: 'anonymous' }]
    }
    return widened
  }
}
