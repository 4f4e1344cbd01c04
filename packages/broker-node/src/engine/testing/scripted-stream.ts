import { Duplex } from 'node:stream'
import { type Delivery, type Frame, splitFrames, toDelivery } from './raw-client.ts'

/** The broker's end of a connection, fed by the test chunk by chunk; what the broker writes is kept. */
export class ScriptedStream extends Duplex {
  private written: Buffer[] = []
  /** False holds every write until `release`. */
  takes = true
  private held: (() => void)[] = []

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.written.push(Buffer.from(chunk))
    if (this.takes) callback()
    else this.held.push(callback)
  }

  /** A chunk arrives: exactly these bytes are one 'data' event. */
  feed(chunk: Uint8Array): void {
    if (!this.destroyed && !this.readableEnded) this.push(Buffer.from(chunk))
  }

  release(): void {
    this.takes = true
    for (const callback of this.held.splice(0)) callback()
  }

  get frames(): Frame[] {
    return splitFrames(Buffer.concat(this.written)).frames
  }

  deliveries(version: 3 | 4 | 5): Delivery[] {
    return this.frames.filter(found => found.type === 3).map(found => toDelivery(found, version))
  }
}
