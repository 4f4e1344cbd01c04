import type { WillRights } from '../../ports.ts'

/** Of a broker without rules: whatever could be left as a will is published. */
export const FREE_WILLS: WillRights = { ownerOf: () => undefined, mayFire: () => true }
