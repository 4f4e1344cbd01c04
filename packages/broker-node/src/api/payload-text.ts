import { isUtf8 } from 'node:buffer'
import { RequestProblem } from './problems.ts'

/** A payload in an answer. */
export interface PayloadText {
  payload: string
  encoding: 'utf8' | 'base64'
  payloadBytes: number
}

/** As text where it is UTF-8, in base64 otherwise. */
export function payloadText(payload: Uint8Array): PayloadText {
  const encoding = isUtf8(payload) ? 'utf8' : 'base64'
  return { payload: Buffer.from(payload).toString(encoding), encoding, payloadBytes: payload.length }
}

/** @throws RequestProblem for what is no base64 and is said to be */
export function payloadBytes(payload: string, encoding: 'utf8' | 'base64'): Uint8Array {
  if (encoding === 'utf8') return Buffer.from(payload, 'utf8')
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(payload)) {
    throw new RequestProblem('fields_invalid', 'payload: is not base64')
  }
  return Buffer.from(payload, 'base64')
}
