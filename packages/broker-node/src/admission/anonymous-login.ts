import type { Claim, Login, LoginMethod } from '../ports.ts'

/** Lets in who sends neither username nor password, unless the listener asks for a login. */
export class AnonymousLogin implements LoginMethod {
  begin({ info, method, username, password }: Claim): Login | undefined {
    if (method !== undefined || username !== undefined || password !== undefined) return undefined
    if (info.loginRequired === true) return undefined
    return { step: () => ({ kind: 'success', username: undefined, data: undefined }) }
  }
}
