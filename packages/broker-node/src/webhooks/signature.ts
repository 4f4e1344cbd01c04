import { createHmac } from 'node:crypto'

/** Headers of a request: the id of its batch, Unix seconds of this attempt, and what proves both and the body. */
export const WEBHOOK_HEADERS = {
  id: 'midge-webhook-id',
  timestamp: 'midge-webhook-timestamp',
  signature: 'midge-webhook-signature',
} as const

/** What is signed, besides the secret that signs it. */
export interface SignedParts {
  id: string
  timestampSeconds: number
  body: string
}

/** The value of `midge-webhook-signature`: HMAC-SHA256 in hex over `<id>.<timestamp>.<body>`, behind its version. */
export function signatureOf(secret: string, { id, timestampSeconds, body }: SignedParts): string {
  return `v1=${createHmac('sha256', secret).update(`${id}.${timestampSeconds}.${body}`).digest('hex')}`
}
