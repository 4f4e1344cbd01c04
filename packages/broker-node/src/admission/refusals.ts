import { ReasonCode } from '@midge/protocol-core'
import type { LoginFailure } from '../ports.ts'

type RefusalName =
  | 'anonymous'
  | 'passwordOnly'
  | 'usernameOnly'
  | 'unknownUser'
  | 'wrongPassword'
  | 'unknownScramUser'
  | 'wrongScramProof'
  | 'otherIdentity'
  | 'malformedExchange'
  | 'channelBinding'
  | 'certificateName'
  | 'unknownMethod'
  | 'nobodyDecides'
  | 'busy'
  | 'backOff'
  | 'revoked'
  | 'suspended'
  | 'noInstance'
  | 'protocol'
  | 'banned'
  | 'tokenUser'
  | 'tokenClientId'
  | 'tokenRules'
  | 'serverDenies'

function refusal(reasonCode: number, reason: string): LoginFailure {
  return { kind: 'failure', reasonCode, reason }
}

/**
 * Every reason not to let a client in. The codes do not tell an unknown user from a wrong password. Busy is not about
 * the password and must not look like it: clients stop reconnecting after a refused password.
 */
export const REFUSED: Readonly<Record<RefusalName, LoginFailure>> = {
  anonymous: refusal(ReasonCode.notAuthorized, 'no user name, and anonymous clients are not allowed'),
  passwordOnly: refusal(ReasonCode.badUserNameOrPassword, 'a password without a user name'),
  usernameOnly: refusal(ReasonCode.badUserNameOrPassword, 'a user name without a password'),
  unknownUser: refusal(ReasonCode.badUserNameOrPassword, 'no such user'),
  wrongPassword: refusal(ReasonCode.badUserNameOrPassword, 'wrong password'),
  unknownScramUser: refusal(ReasonCode.notAuthorized, 'no such user'),
  wrongScramProof: refusal(ReasonCode.notAuthorized, 'wrong password'),
  otherIdentity: refusal(ReasonCode.notAuthorized, 'wants to act for another user'),
  malformedExchange: refusal(ReasonCode.protocolError, 'the messages of the exchange are wrong'),
  channelBinding: refusal(ReasonCode.badAuthenticationMethod, 'channel binding is not supported'),
  certificateName: refusal(ReasonCode.notAuthorized, 'the Common Name of the certificate cannot be a user name'),
  unknownMethod: refusal(ReasonCode.badAuthenticationMethod, 'authentication method not supported'),
  nobodyDecides: refusal(ReasonCode.notAuthorized, 'no way to log in fits'),
  busy: refusal(ReasonCode.serverBusy, 'too many passwords to check'),
  backOff: refusal(ReasonCode.serverBusy, 'too many failed logins of this user from there, wait a little'),
  revoked: refusal(ReasonCode.notAuthorized, 'the user is disabled, or was changed while it logged in'),
  suspended: refusal(ReasonCode.serverUnavailable, 'the instance is suspended'),
  noInstance: refusal(ReasonCode.serverUnavailable, 'the instance of this port has been removed'),
  protocol: refusal(ReasonCode.unsupportedProtocolVersion, 'the instance does not take this version of MQTT'),
  banned: refusal(ReasonCode.banned, 'the address, the user or the client id is banned'),
  tokenUser: refusal(ReasonCode.badUserNameOrPassword, 'the token names no user, or another one than CONNECT'),
  tokenClientId: refusal(ReasonCode.badUserNameOrPassword, 'the token is for another client id'),
  tokenRules: refusal(ReasonCode.badUserNameOrPassword, 'the rules in the token cannot be read'),
  serverDenies: refusal(ReasonCode.badUserNameOrPassword, 'the login server denies it'),
}
