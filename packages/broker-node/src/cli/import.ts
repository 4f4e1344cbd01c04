import { readFileSync } from 'node:fs'
import { BrokerError } from '@midge/protocol-core'
import type { Bundle } from '../transfer/bundle.ts'
import { readHbmqtt } from '../transfer/hbmqtt/read-hbmqtt.ts'
import { InstanceWriter } from '../transfer/instance-writer.ts'
import { readMosca } from '../transfer/mosca/read-mosca.ts'
import { readMosquitto } from '../transfer/mosquitto/read-mosquitto.ts'
import { describeTransfer, isComplete, reportOf } from '../transfer/transfer-report.ts'
import { ApiFailure, callApi } from './control/api-client.ts'
import { ExitCode } from './exit-codes.ts'

/** Hundreds of users at once are more work than other requests are. */
const ANSWER_MS = 60_000

/** Options that every import has. */
export interface ImportFlags {
  url: string
  /** File that holds a key of the HTTP API and nothing else. */
  keyFile?: string
  into: string
  overwrite?: boolean
  dryRun?: boolean
  json?: boolean
}

/** Options of `midge import mosquitto`. */
export interface MosquittoFlags extends ImportFlags {
  root?: string
  listener?: number
}

/**
 * Moves users and rules of a Mosquitto into an instance; exit code 0 when all that was read is there.
 *
 * @throws BrokerError as `readMosquitto` does; `MIDGE_STORE_UNAVAILABLE` when the node does not answer, `MIDGE_INVALID` when
 * it refuses
 */
export async function importMosquitto(conf: string, flags: MosquittoFlags): Promise<number> {
  return finishImport(readMosquitto({ conf, root: flags.root, listener: flags.listener }), flags)
}

/** Moves users and rules of a Mosca. @throws BrokerError as `readMosca` does, and as `importMosquitto` */
export async function importMosca(credentials: string, flags: ImportFlags): Promise<number> {
  return finishImport(readMosca(credentials), flags)
}

/** Moves users and rules of an HBMQTT. @throws BrokerError as `readHbmqtt` does, and as `importMosquitto` */
export async function importHbmqtt(config: string, flags: ImportFlags & { root?: string }): Promise<number> {
  return finishImport(readHbmqtt({ config, root: flags.root }), flags)
}

async function finishImport(bundle: Bundle, flags: ImportFlags): Promise<number> {
  const written = flags.dryRun === true ? undefined : await writerOf(flags).write(bundle)
  const report = reportOf(bundle, written)
  process.stdout.write(`${flags.json === true ? JSON.stringify(report, undefined, 2) : describeTransfer(report)}\n`)
  return isComplete(report) ? ExitCode.ok : ExitCode.failure
}

function writerOf(flags: ImportFlags): InstanceWriter {
  const door = { url: flags.url, key: keyOf(flags) }
  return new InstanceWriter({
    overwrite: flags.overwrite,
    async send(method, rest, body) {
      const path = `/instances/${encodeURIComponent(flags.into)}/${rest}`
      try {
        return await callApi(door, { method, path, body, timeoutMs: ANSWER_MS })
      } catch (cause) {
        if (!(cause instanceof ApiFailure)) throw cause
        const { status, message } = cause
        if (status === undefined) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', message, { cause })
        throw new BrokerError('MIDGE_INVALID', `${method} /api/v1${path}: ${status} ${message}`, { cause })
      }
    },
  })
}

function keyOf({ keyFile }: ImportFlags): string {
  if (keyFile === undefined) throw new BrokerError('MIDGE_CONFIG_INVALID', 'the API asks for a key: give --key-file')
  try {
    return readFileSync(keyFile, 'utf8').trim()
  } catch (cause) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `cannot read ${keyFile}`, { cause })
  }
}
