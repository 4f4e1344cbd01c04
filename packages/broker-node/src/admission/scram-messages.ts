import type { LoginFailure } from '../ports.ts'
import { REFUSED } from './refusals.ts'

/** The client's first message. RFC 5802 section 7, `client-first-message`. */
export interface ScramClientFirst {
  kind: 'first'
  /** Channel-binding flag and authorisation identity, with both commas. */
  gs2Header: string
  /** The rest, which is part of what both sides sign. */
  bare: string
  username: string
  nonce: string
}

/** The client's last message, `client-final-message`. */
export interface ScramClientFinal {
  channelBinding: string
  nonce: string
  proof: Uint8Array
  withoutProof: string
}

/** Bound of one message; names and nonces are far shorter. */
const MESSAGE_BYTES_MAX = 4096
/** Flag (`n`, `y`, or `p=` with a binding type), optional authorisation identity, then the bare message. */
const CLIENT_FIRST =
  /^((n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]*))?,)(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*)$/
const CLIENT_FINAL =
  /^(c=([A-Za-z0-9+/]+={0,2}),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*),p=([A-Za-z0-9+/]+={0,2})$/

/** @returns the message, or why it is refused */
export function parseClientFirst(data: Uint8Array): ScramClientFirst | LoginFailure {
  const text = decode(data)
  const match = text === undefined ? null : CLIENT_FIRST.exec(text)
  if (match === null) return REFUSED.malformedExchange
  const [, gs2Header = '', flag = '', identity, bare = '', escapedName = '', nonce = ''] = match
  // The server offers no method with channel binding, so it must not act as if it had checked one.
  if (flag.startsWith('p=')) return REFUSED.channelBinding
  const username = unescapeName(escapedName)
  if (username === undefined || username === '') return REFUSED.malformedExchange
  // Acting for somebody else is a right that nobody has here.
  if (identity !== undefined && unescapeName(identity) !== username) return REFUSED.otherIdentity
  return { kind: 'first', gs2Header, bare, username, nonce }
}

/** @returns the message, or `undefined` when it is not one */
export function parseClientFinal(data: Uint8Array): ScramClientFinal | undefined {
  const text = decode(data)
  const match = text === undefined ? null : CLIENT_FINAL.exec(text)
  if (match === null) return undefined
  const [, withoutProof = '', channelBinding = '', nonce = '', proof = ''] = match
  return { withoutProof, channelBinding, nonce, proof: Buffer.from(proof, 'base64') }
}

/** `=2C` and `=3D` stand for comma and equals sign; any other use of `=` is an error. RFC 5802 section 5.1. */
function unescapeName(escaped: string): string | undefined {
  if (/=(?!2C|3D)/.test(escaped)) return undefined
  return escaped.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function decode(data: Uint8Array): string | undefined {
  if (data.length > MESSAGE_BYTES_MAX) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
  } catch {
    return undefined
  }
}
