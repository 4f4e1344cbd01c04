import { ControlPlane, type ControlPlaneOptions } from '../control-plane.ts'
import type { MemoryRecords } from './memory-records.ts'

/** The control plane of one more node over the same records; passwords are "hashed" at once. */
export async function startPlane(
  records: MemoryRecords,
  options: Partial<ControlPlaneOptions> = {},
): Promise<ControlPlane> {
  const plane = new ControlPlane({
    records: records.open(),
    prove: async (_instance, _username, password) => ({ hash: `hash of ${password}` }),
    portBases: { min: 10_000, max: 19_999, reserved: new Set([20_001]) },
    now: () => Date.now(),
    onUnreadable: key => {
      throw new Error(`unreadable: ${key}`)
    },
    onLost: write => void write(),
    ...options,
  })
  await plane.start()
  return plane
}
