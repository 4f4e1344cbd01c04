import { CertificateAuthenticator } from '../admission/certificate-authenticator.ts'
import { FrontDoor } from '../admission/front-door.ts'
import { HashQueue } from '../admission/hash-queue.ts'
import { LoginHistory } from '../admission/login-history.ts'
import { PasswordAuthenticator } from '../admission/password-authenticator.ts'
import { ScramAuthenticator } from '../admission/scram-authenticator.ts'
import { TenantDirectory } from '../admission/tenant-directory.ts'
import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { Logger } from '../ports.ts'
import type { TenancyParts } from './node-tenancy.ts'

/** Puts the door together: the order of the login methods is the order of their questions. */
export function createDoor(
  auth: Config['auth'],
  { tenancy, counters, logger }: { tenancy: TenancyParts; counters: Counters; logger: Logger },
): FrontDoor {
  const now = (): number => performance.now()
  const { tables } = tenancy.plane
  const users = new TenantDirectory(tables, tenancy.proofs)
  const history = new LoginHistory({ failuresMax: auth.failuresMax, backOffMsMax: auth.backOffMsMax, now })
  const room = { waitingMax: auth.hashesWaitingMax, waitMsMax: auth.hashWaitMsMax, counters, now }
  const queue = new HashQueue({ ...room, runningMax: auth.hashesRunningMax })
  const slowQueue = new HashQueue({ ...room, runningMax: 1 })
  const methods = [
    new CertificateAuthenticator(),
    new ScramAuthenticator({ users, history }),
    new PasswordAuthenticator({ users, queue, slowQueue, history, anonymousAllowed: auth.anonymous }),
  ]
  return new FrontDoor({ methods, instances: tables, users, rules: tables, counters, logger, now })
}
