/** Where a connection is in its life; only ever grows. */
export const Phase = { awaitingConnect: 0, connecting: 1, open: 2, closed: 3 } as const
export type Phase = (typeof Phase)[keyof typeof Phase]
