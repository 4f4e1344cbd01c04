import { type ConfigSources, type LoadedConfig, loadConfig } from '../config/load-config.ts'
import type { Config } from '../config/schema.ts'
import { renderDetailsBox } from '../lifecycle/details-box.ts'
import type { RunningNode } from '../lifecycle/running-node.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import { watchEventLoop } from '../observe/event-loop-lag.ts'
import { createLogger, type RootLogger } from '../observe/logger.ts'
import type { Logger } from '../ports.ts'
import { ExitCode, reportFailure } from './exit-codes.ts'

/** Options of `midge start`. */
export interface StartOptions extends ConfigSources {
  /** Print the Details box also when standard output is not a terminal. */
  details?: boolean | undefined
}

/** Builds and starts a node; `compose/start-node.ts` has the real one. */
export type StartNode = (config: Config, logger: Logger) => Promise<RunningNode>

const LAG_WARN_MS = 500
/** A node that is in an unknown state gets this long to hand its clients over. */
const CRASH_DRAIN_MS = 10_000
const SAME_KEYPRESS_MS = 300

async function startComposed(config: Config, logger: Logger): Promise<RunningNode> {
  const { startNode } = await import('../compose/start-node.ts')
  return startNode(config, logger)
}

function loggerFor({ config, origins }: LoadedConfig): RootLogger {
  const isForPerson = process.stdout.isTTY === true && origins.get('log.format') === 'default'
  const format = isForPerson ? 'pretty' : config.log.format
  return createLogger({ level: config.log.level, format, nodeId: config.nodeId, version: MIDGE_VERSION })
}

/** Ends the process by the first of: a signal, a failure that nobody caught, the node ending by itself. */
class ProcessEnd {
  private readonly logger: RootLogger
  private node: RunningNode | undefined
  private isEnding = false
  private firstInterruptMs = 0

  constructor(logger: RootLogger) {
    this.logger = logger
  }

  listen(): void {
    process.on('SIGTERM', signal => this.onSignal(signal))
    process.on('SIGINT', signal => this.onSignal(signal))
    process.on('uncaughtException', error => this.onCrash(error))
    process.on('unhandledRejection', error => this.onCrash(error))
  }

  watch(node: RunningNode): void {
    this.node = node
    void node.done.then(
      code => {
        if (!this.isEnding) this.exit(code)
      },
      error => this.onCrash(error),
    )
  }

  private onSignal(signal: string): void {
    const nowMs = Date.now()
    // Under npm one Ctrl-C arrives twice: from the terminal and from npm.
    if (signal === 'SIGINT' && nowMs - this.firstInterruptMs < SAME_KEYPRESS_MS) return
    if (signal === 'SIGINT') this.firstInterruptMs = nowMs
    if (this.isEnding || this.node === undefined) {
      this.logger.warn({ event: 'node.killed', signal }, 'exiting at once')
      this.exit(this.isEnding ? ExitCode.failure : ExitCode.ok)
      return
    }
    this.isEnding = true
    this.logger.info({ event: 'node.draining', signal }, 'draining; a second signal exits at once')
    void this.drain(this.node).then(
      () => this.exit(ExitCode.ok),
      error => {
        this.logger.error({ event: 'node.drain_failed', err: error }, 'the drain failed')
        this.exit(ExitCode.failure)
      },
    )
  }

  private async drain(node: RunningNode): Promise<void> {
    const startMs = Date.now()
    await node.drain()
    await node.stop()
    this.logger.info({ event: 'node.drained', durationMs: Date.now() - startMs }, 'drained')
  }

  private onCrash(error: unknown): void {
    this.logger.error({ event: 'node.crashed', err: error }, 'unexpected failure: draining and exiting')
    if (this.isEnding || this.node === undefined) {
      this.exit(ExitCode.failure)
      return
    }
    this.isEnding = true
    setTimeout(() => this.exit(ExitCode.failure), CRASH_DRAIN_MS).unref()
    const exit = (): void => this.exit(ExitCode.failure)
    void this.drain(this.node).then(exit, exit)
  }

  private exit(code: number): void {
    void this.logger.close().then(() => process.exit(code))
  }
}

/**
 * Starts a node and keeps the process until it ends.
 *
 * @returns an exit code when the node could not be started; otherwise never, the process exits on its own
 */
export async function runStart(options: StartOptions, startNode: StartNode = startComposed): Promise<number> {
  let loaded: LoadedConfig
  try {
    loaded = loadConfig(options)
  } catch (error) {
    return reportFailure(error)
  }
  const logger = loggerFor(loaded)
  const end = new ProcessEnd(logger)
  end.listen()
  watchEventLoop(LAG_WARN_MS, lagMs => logger.warn({ event: 'node.event_loop_lag', lagMs }, 'the event loop was late'))
  let node: RunningNode
  try {
    node = await startNode(loaded.config, logger)
  } catch (error) {
    await logger.close()
    return reportFailure(error)
  }
  end.watch(node)
  if (options.details === true || process.stdout.isTTY === true) process.stdout.write(renderDetailsBox(node.details()))
  return new Promise<never>(() => {
    // Only an exit ends it; the listeners of the node keep the event loop alive.
  })
}
