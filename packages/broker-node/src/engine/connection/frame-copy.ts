import { packetIdOffset, patchPacketId } from '@midge/protocol-core'

/** Copies an encoded QoS 1 frame and gives it its packet id. */
export function copyPatched(frame: Uint8Array, target: Uint8Array, offset: number, packetId: number): void {
  target.set(frame, offset)
  patchPacketId(target, packetIdOffset(target, offset), packetId)
}
