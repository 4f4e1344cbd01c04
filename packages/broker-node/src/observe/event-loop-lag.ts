import { performance } from 'node:perf_hooks'

/** How late the event loop runs its timers. */
export interface EventLoopLag {
  /** Worst lag since the last call, in milliseconds. */
  takeMaxMs(): number
  stop(): void
}

const SAMPLE_MS = 50

/**
 * Starts to sample: a timer every 50 ms looks how late it is.
 *
 * Not `monitorEventLoopDelay`: its histogram drops the first interval after a reset, the one in question when a
 * reader resets it after each look.
 */
export function sampleEventLoopLag(): EventLoopLag {
  let maxMs = 0
  let expected = performance.now() + SAMPLE_MS
  const timer = setInterval(() => {
    const now = performance.now()
    maxMs = Math.max(maxMs, now - expected)
    expected = now + SAMPLE_MS
  }, SAMPLE_MS)
  timer.unref()
  return {
    takeMaxMs() {
      const taken = Math.round(maxMs)
      maxMs = 0
      return taken
    },
    stop() {
      clearInterval(timer)
    },
  }
}

/**
 * Calls `report` when the loop was later than `boundMs` within the last ten seconds.
 *
 * @returns stops the watch
 */
export function watchEventLoop(boundMs: number, report: (lagMs: number) => void): () => void {
  const lag = sampleEventLoopLag()
  const timer = setInterval(() => {
    const maxMs = lag.takeMaxMs()
    if (maxMs > boundMs) report(maxMs)
  }, 10_000)
  timer.unref()
  return () => {
    clearInterval(timer)
    lag.stop()
  }
}
