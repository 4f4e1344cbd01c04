import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { BrokerError } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { ListenerTlsOptions } from './options.ts'

/** How long a changed file may stay unnoticed. */
const CHECK_FILES_MS = 10_000

interface Loaded {
  /** For clients that ask for no name, or for one that has no certificate of its own. */
  main: SecureContextOptions
  byHost: ReadonlyMap<string, SecureContext>
}

/**
 * The certificates of a TLS listener: one for everybody, and others by the name that a client asks for (SNI).
 *
 * Files that have changed are read again with the next handshake, so a renewed certificate needs no restart and ends no
 * connection. Files that do not work are reported once, and what was there before goes on being shown.
 */
export class Certificates {
  private readonly setting: string
  private readonly tls: ListenerTlsOptions
  private readonly files: readonly string[]
  private loaded: Loaded
  private seen: string
  private checkedAtMs = performance.now()

  /**
   * @param setting - the listener's, for error texts
   * @throws BrokerError `MIDGE_CONFIG_INVALID` for a file that cannot be used
   */
  constructor(setting: string, tls: ListenerTlsOptions) {
    this.setting = setting
    this.tls = tls
    const pairs = [tls, ...(tls.certificates ?? [])].flatMap(({ certFile, keyFile }) => [certFile, keyFile])
    this.files = tls.caFile === undefined ? pairs : [...pairs, tls.caFile]
    // Before they are read: a change in between is then seen as one.
    this.seen = this.stamp()
    this.loaded = this.load()
  }

  get main(): SecureContextOptions {
    return this.loaded.main
  }

  /** @returns the certificate for a name, `*.example.org` standing for one label; `undefined` for that of everybody */
  find(serverName: string): SecureContext | undefined {
    const { byHost } = this.loaded
    if (byHost.size === 0) return undefined
    const name = serverName.toLowerCase()
    return byHost.get(name) ?? byHost.get(`*${name.slice(name.indexOf('.'))}`)
  }

  /** @returns true when the files were changed since the last look, and have been read */
  refresh(logger: Logger): boolean {
    const nowMs = performance.now()
    if (nowMs - this.checkedAtMs < (this.tls.checkFilesMs ?? CHECK_FILES_MS)) return false
    this.checkedAtMs = nowMs
    const stamp = this.stamp()
    if (stamp === this.seen) return false
    this.seen = stamp
    try {
      this.loaded = this.load()
    } catch (error) {
      logger.error(
        { event: 'listener.certificate_failed', err: error },
        'Changed certificate files do not work; the certificates of before go on being used',
      )
      return false
    }
    logger.info({ event: 'listener.certificate_reloaded', files: this.files }, 'Certificates read again')
    return true
  }

  private stamp(): string {
    return this.files
      .map(file => {
        const stats = statSync(file, { throwIfNoEntry: false })
        return `${stats?.mtimeMs} ${stats?.ino} ${stats?.size}`
      })
      .join()
  }

  private load(): Loaded {
    const { setting, tls } = this
    const shared: SecureContextOptions = { minVersion: tls.minVersion ?? 'TLSv1.2' }
    if (tls.caFile !== undefined) shared.ca = readPem(tls.caFile, `${setting}: client authorities`)
    const byHost = new Map<string, SecureContext>()
    for (const certificate of tls.certificates ?? []) {
      const { context } = this.read(certificate, shared)
      for (const host of certificate.hosts) byHost.set(host.toLowerCase(), context)
    }
    return { main: this.read(tls, shared).options, byHost }
  }

  private read(
    { certFile, keyFile }: { certFile: string; keyFile: string },
    shared: SecureContextOptions,
  ): { options: SecureContextOptions; context: SecureContext } {
    const cert = readPem(certFile, `${this.setting}: certificate`)
    const key = readPem(keyFile, `${this.setting}: private key`)
    const options = { ...shared, cert, key }
    try {
      return { options, context: createSecureContext(options) }
    } catch (error) {
      throw new BrokerError(
        'MIDGE_CONFIG_INVALID',
        `${this.setting}: certificate ${certFile} and key ${keyFile} do not work: ${String(error)}`,
        { cause: error },
      )
    }
  }
}

function readPem(file: string, what: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${what} ${file} cannot be read: ${String(error)}`, { cause: error })
  }
}
