import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { type InstanceName, ReasonCode } from '@midge/protocol-core'
import type { AuthExchange, Credentials, EnhancedAuthenticator, ExchangeStep } from '../ports.ts'
import { SCRAM_ITERATIONS_DEFAULT, SCRAM_SALT_BYTES, type ScramKeys } from './scram-keys.ts'
import { parseClientFinal, parseClientFirst, type ScramClientFirst } from './scram-messages.ts'
import type { UserDirectory } from './user-directory.ts'

/** The Authentication Method of v5 that {@link ScramAuthenticator} knows. */
export const SCRAM_METHOD = 'SCRAM-SHA-256'

/** Where the users are, and what unknown ones are shown. */
export interface ScramAuthenticatorOptions {
  users: UserDirectory
  /**
   * Makes the salts that unknown users are shown. A salt that changes with a restart or from node to node would give
   * the name away, so a cluster should share one; random for this process when absent.
   */
  fakeSaltKey?: Uint8Array
}

/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as enhanced authentication of v5 section 4.12, without channel binding.
 *
 * An unknown user gets the same messages as a known one, up to the same failure at the end. A refusal is 0x87, which is
 * legal in CONNACK and, after a re-authentication, in DISCONNECT.
 */
export class ScramAuthenticator implements EnhancedAuthenticator {
  private readonly users: UserDirectory
  private readonly fakeSaltKey: Uint8Array

  constructor(options: ScramAuthenticatorOptions) {
    this.users = options.users
    this.fakeSaltKey = options.fakeSaltKey ?? randomBytes(32)
  }

  begin(method: string, credentials: Credentials): AuthExchange | undefined {
    if (method !== SCRAM_METHOD) return undefined
    return new ScramExchange(username => this.findKeys(credentials.instance, username))
  }

  private findKeys(instance: InstanceName, username: string): UserKeys {
    const keys = this.users.find(instance, username)?.scram
    if (keys !== undefined) return { keys, isReal: true }
    const fake = createHmac('sha256', this.fakeSaltKey).update(`${instance.length}:${instance}${username}`).digest()
    return {
      keys: {
        salt: fake.subarray(0, SCRAM_SALT_BYTES),
        iterationCount: SCRAM_ITERATIONS_DEFAULT,
        storedKey: fake,
        serverKey: fake,
      },
      isReal: false,
    }
  }
}

interface UserKeys {
  keys: ScramKeys
  isReal: boolean
}

const SERVER_NONCE_BYTES = 18
const NOT_AUTHORIZED: ExchangeStep = { kind: 'failure', reasonCode: ReasonCode.notAuthorized }
const PROTOCOL_ERROR: ExchangeStep = { kind: 'failure', reasonCode: ReasonCode.protocolError }

/** What the server has to remember between its two messages. */
interface Challenge extends UserKeys {
  clientFirst: ScramClientFirst
  nonce: string
  serverFirst: string
}

class ScramExchange implements AuthExchange {
  private readonly findKeys: (username: string) => UserKeys
  private challenge: Challenge | undefined
  private isOver = false

  constructor(findKeys: (username: string) => UserKeys) {
    this.findKeys = findKeys
  }

  step(data: Uint8Array | undefined): ExchangeStep {
    if (this.isOver || data === undefined) return PROTOCOL_ERROR
    if (this.challenge === undefined) return this.answerFirst(data)
    this.isOver = true
    return decideFinal(this.challenge, data)
  }

  private answerFirst(data: Uint8Array): ExchangeStep {
    const clientFirst = parseClientFirst(data)
    if (typeof clientFirst === 'number') {
      this.isOver = true
      return { kind: 'failure', reasonCode: clientFirst }
    }
    const { keys, isReal } = this.findKeys(clientFirst.username)
    const nonce = clientFirst.nonce + randomBytes(SERVER_NONCE_BYTES).toString('base64')
    const salt = Buffer.from(keys.salt).toString('base64')
    const serverFirst = `r=${nonce},s=${salt},i=${keys.iterationCount}`
    this.challenge = { clientFirst, keys, isReal, nonce, serverFirst }
    return { kind: 'continue', data: Buffer.from(serverFirst) }
  }
}

function decideFinal(challenge: Challenge, data: Uint8Array): ExchangeStep {
  const { clientFirst, keys, isReal, nonce, serverFirst } = challenge
  const clientFinal = parseClientFinal(data)
  if (clientFinal === undefined) return PROTOCOL_ERROR
  // The header comes back inside the signed part: a man in the middle who changed "y" to "n" is found here.
  const expectedBinding = Buffer.from(clientFirst.gs2Header).toString('base64')
  if (clientFinal.channelBinding !== expectedBinding || clientFinal.nonce !== nonce) return NOT_AUTHORIZED
  const authMessage = `${clientFirst.bare},${serverFirst},${clientFinal.withoutProof}`
  const clientSignature = createHmac('sha256', keys.storedKey).update(authMessage).digest()
  if (clientFinal.proof.length !== clientSignature.length) return NOT_AUTHORIZED
  const clientKey = clientSignature.map((byte, index) => byte ^ (clientFinal.proof[index] ?? 0))
  const isRight = timingSafeEqual(createHash('sha256').update(clientKey).digest(), keys.storedKey)
  const serverSignature = createHmac('sha256', keys.serverKey).update(authMessage).digest('base64')
  if (!isRight || !isReal) return NOT_AUTHORIZED
  return { kind: 'success', username: clientFirst.username, data: Buffer.from(`v=${serverSignature}`) }
}
