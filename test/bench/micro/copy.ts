// Where a byte loop stops to beat `TypedArray.prototype.set`: LOOP_BYTES_MAX of the output buffer.
import { consume, measure } from './measure.ts'

const SIZES = [8, 16, 24, 32, 40, 48, 64, 96, 128, 256]
const TARGET_BYTES = 65_536

function copyByLoop(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void {
  let to = offset
  for (let from = start; from < end; from++) target[to++] = source[from] as number
}

function copyBySet(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void {
  target.set(source.subarray(start, end), offset)
}

/** What `set` costs when the caller already has a view of exactly the bytes. */
const views = new Map<number, Uint8Array>()
function copyView(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void {
  const view = views.get(end - start)
  if (view !== undefined) target.set(view, offset)
  else views.set(end - start, source.subarray(start, end))
}

type Copy = typeof copyByLoop

/** Frames from the middle of a read go one behind the other into a chunk, as they do in the output buffer. */
function fill(copy: Copy, source: Uint8Array, target: Uint8Array, size: number, count: number): void {
  let offset = 0
  for (let i = 0; i < count; i++) {
    if (offset + size > target.length) offset = 0
    copy(source, i & 1023, (i & 1023) + size, target, offset)
    offset += size
  }
  consume(target[offset >> 1] ?? 0)
}

/** Prints both ways for every size. */
export function run(): void {
  const source = Buffer.allocUnsafeSlow(TARGET_BYTES).fill(7)
  const target = Buffer.allocUnsafeSlow(TARGET_BYTES)
  let crossing = 0
  for (const size of SIZES) {
    const loop = measure(`copy ${size} B: loop`, count => fill(copyByLoop, source, target, size, count))
    const set = measure(`copy ${size} B: subarray and set`, count => fill(copyBySet, source, target, size, count))
    measure(`copy ${size} B: set of a view that exists`, count => fill(copyView, source, target, size, count))
    if (loop.nsPerOp < set.nsPerOp) crossing = size
  }
  console.log(`  the loop is faster up to ${crossing} B`)
}
