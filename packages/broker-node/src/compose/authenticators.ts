import { createHash } from 'node:crypto'
import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import { PasswordAuthenticator } from '../auth/password-authenticator.ts'
import { ScramAuthenticator } from '../auth/scram-authenticator.ts'
import { MemoryUserDirectory } from '../auth/user-directory.ts'
import type { Config } from '../config/schema.ts'
import type { BootstrapUser } from '../lifecycle/bootstrap.ts'

/** Both ways to prove who a client is, over the users that this node knows. */
export interface Authenticators {
  authenticator: PasswordAuthenticator
  enhancedAuthenticator: ScramAuthenticator
}

/** Creates the first user and what checks credentials against it. */
export async function createAuthenticators(
  { anonymous }: Config['auth'],
  firstUser: BootstrapUser,
): Promise<Authenticators> {
  const users = new MemoryUserDirectory()
  await users.createUser(DEFAULT_INSTANCE, firstUser.username, firstUser.password)
  return {
    authenticator: new PasswordAuthenticator({
      users,
      anonymousAllowed: anonymous,
      // Listeners tell a Common Name only where it is to be the username.
      certCnAsUsername: true,
    }),
    enhancedAuthenticator: new ScramAuthenticator({
      users,
      // The same on every node of a cluster, which shares the first user's password.
      fakeSaltKey: createHash('sha256').update(`midge scram salts\n${firstUser.password}`).digest(),
    }),
  }
}
