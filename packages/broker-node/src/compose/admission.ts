import { DEFAULT_INSTANCE, type SecretStore } from '@midge/protocol-core'
import { CertificateAuthenticator } from '../admission/certificate-authenticator.ts'
import { FrontDoor } from '../admission/front-door.ts'
import { HashQueue } from '../admission/hash-queue.ts'
import { LoginHistory } from '../admission/login-history.ts'
import { PasswordAuthenticator } from '../admission/password-authenticator.ts'
import { ScramAuthenticator } from '../admission/scram-authenticator.ts'
import { MemoryUserDirectory } from '../admission/user-directory.ts'
import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { BootstrapUser } from '../lifecycle/bootstrap.ts'
import type { Logger } from '../ports.ts'

/** Name of the key in the store that the salts of SCRAM are made from, and its length. */
const SALT_KEY = { name: 'scram-salts', bytesCount: 32 }

/** The door of a node, and the users it knows. */
export interface AdmissionParts {
  door: FrontDoor
  /** Makes the first user; once the store can be used, since what proves a password is salted with a key kept there. */
  prepare(secrets: SecretStore, firstUser: BootstrapUser): Promise<void>
}

/** Puts the door together: the order of the login methods is the order of their questions. */
export function createAdmission(
  auth: Config['auth'],
  { counters, logger }: { counters: Counters; logger: Logger },
): AdmissionParts {
  const now = (): number => performance.now()
  const users = new MemoryUserDirectory()
  const history = new LoginHistory({ failuresMax: auth.failuresMax, backOffMsMax: auth.backOffMsMax, now })
  const queue = new HashQueue({
    runningMax: auth.hashesRunningMax,
    waitingMax: auth.hashesWaitingMax,
    waitMsMax: auth.hashWaitMsMax,
    counters,
    now,
  })
  const methods = [
    new CertificateAuthenticator(),
    new ScramAuthenticator({ users, history }),
    new PasswordAuthenticator({ users, queue, history, anonymousAllowed: auth.anonymous }),
  ]
  return {
    door: new FrontDoor({ methods, users, rules: users, counters, logger, now }),
    prepare: async (secrets, { username, password }) => {
      users.useSaltKey(await secrets.secret(SALT_KEY.name, SALT_KEY.bytesCount))
      await users.createUser(DEFAULT_INSTANCE, username, password)
    },
  }
}
