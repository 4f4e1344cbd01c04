import { type DestinationStream, type LoggerOptions, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../config/schema.ts'
import type { Logger } from '../ports.ts'
import { prettyLine } from './pretty.ts'
import { RepeatLimit } from './repeat-limit.ts'

type LogConfig = Config['log']

/** How the log is written. */
export interface LogSettings extends LogConfig {
  nodeId: string
  version: string
  /** Takes whole lines; standard output when absent. */
  write?: ((line: string) => void) | undefined
}

/** The root logger with the two things only the process needs. */
export interface RootLogger extends Logger {
  /** Resolves when every line is written, at the latest after a second; later lines are lost. */
  close(): Promise<void>
}

/** Characters kept of a text value; clients choose some of them. */
const TEXT_MAX = 128
const REPEATS_MAX = 200
const WINDOW_MS = 1000
/** Bytes waiting for a slow reader of standard output; further lines are lost rather than the node's memory. */
const BACKLOG_BYTES_MAX = 8 * 1024 * 1024
/** A reader of standard output that takes nothing for this long at the end has lost interest. */
const CLOSE_MS = 1000
/** Written by us, never by a client, and useful only whole. */
const WHOLE = new Set(['durabilitySentence', 'problem', 'url'])

const SECRETS = ['password', 'payload', 'apiKey', 'authorization', 'credentials', 'secret']

function shorten(fields: Record<string, unknown>): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined
  for (const name in fields) {
    const value = fields[name]
    if (typeof value !== 'string' || value.length <= TEXT_MAX || WHOLE.has(name)) continue
    copy ??= { ...fields }
    copy[name] = `${value.slice(0, TEXT_MAX)}…`
  }
  return copy ?? fields
}

function options(settings: LogSettings): LoggerOptions {
  return {
    level: settings.level,
    base: { nodeId: settings.nodeId, version: settings.version },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }), log: shorten },
    redact: { paths: SECRETS.flatMap(name => [name, `*.${name}`]), censor: '[hidden]' },
  }
}

/** Where lines go; what comes after `close` is passed over. */
interface Output extends DestinationStream {
  close(): Promise<void>
}

/**
 * Standard output without waiting for its reader: a reader that stalls must not stall the node.
 *
 * Its own `flushSync` is no use at the end, because it overtakes a write that is under way.
 */
function openStdout(): Output {
  const stream = pino.destination({ fd: 1, sync: false, maxLength: BACKLOG_BYTES_MAX })
  let closed: Promise<void> | undefined
  const end = (): Promise<void> =>
    new Promise(resolve => {
      setTimeout(resolve, CLOSE_MS).unref()
      stream.once('close', () => resolve())
      stream.end()
    })
  return {
    write: line => {
      if (closed === undefined) stream.write(line)
    },
    close: () => {
      closed ??= end()
      return closed
    },
  }
}

function output({ write, format }: LogSettings): Output {
  const lines: Output = write === undefined ? openStdout() : { write, close: async () => undefined }
  if (format === 'json') return lines
  return { write: line => lines.write(`${prettyLine(line.trimEnd())}\n`), close: () => lines.close() }
}

type LevelName = LogConfig['level']

/** Our port over pino, with repeated events held back. */
class PinoLogger implements RootLogger {
  private readonly pino: pino.Logger
  private readonly limit: RepeatLimit
  private readonly out: Output
  private readonly report: () => void

  constructor(parts: { pino: pino.Logger; limit: RepeatLimit; out: Output; report: () => void }) {
    this.pino = parts.pino
    this.limit = parts.limit
    this.out = parts.out
    this.report = parts.report
  }

  trace(fields: object, text: string): void {
    // Whoever turns packets on wants all of them.
    this.pino.trace(fields, text)
  }

  debug(fields: object, text: string): void {
    this.write('debug', fields, text)
  }

  info(fields: object, text: string): void {
    this.write('info', fields, text)
  }

  warn(fields: object, text: string): void {
    this.write('warn', fields, text)
  }

  error(fields: object, text: string): void {
    this.write('error', fields, text)
  }

  isLevelEnabled(level: string): boolean {
    return this.pino.isLevelEnabled(level)
  }

  child(bindings: Record<string, unknown>): Logger {
    return new PinoLogger({
      pino: this.pino.child(shorten(bindings)),
      limit: this.limit,
      out: this.out,
      report: this.report,
    })
  }

  close(): Promise<void> {
    return this.out.close()
  }

  private write(level: LevelName, fields: object, text: string): void {
    if (!this.pino.isLevelEnabled(level)) return
    const event = (fields as { event?: unknown }).event
    if (this.limit.allows(typeof event === 'string' ? event : text, Date.now())) this.pino[level](fields, text)
    else this.report()
  }
}

/** Reports held-back events once a window while there are any; the timer keeps no process alive. */
function suppressionReport(target: pino.Logger, limit: RepeatLimit): () => void {
  let timer: NodeJS.Timeout | undefined
  return () => {
    if (timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      for (const [suppressedEvent, suppressedCount] of limit.takeSuppressed()) {
        target.warn({ event: 'log.suppressed', suppressedEvent, suppressedCount }, 'repeated events were not logged')
      }
    }, WINDOW_MS)
    timer.unref()
  }
}

/** The logger of the process: one JSON object (or readable line) per event. */
export function createLogger(settings: LogSettings): RootLogger {
  const out = output(settings)
  const root = pino(options(settings), out)
  const limit = new RepeatLimit(REPEATS_MAX, WINDOW_MS)
  return new PinoLogger({ pino: root, limit, out, report: suppressionReport(root, limit) })
}
