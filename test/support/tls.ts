import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Paths of throw-away PEM files. */
export interface TestCertificates {
  folder: string
  caFile: string
  /** For `localhost`, `127.0.0.1` and `::1`. */
  serverCertFile: string
  serverKeyFile: string
  /** Same name and key, ended in 2020. */
  expiredCertFile: string
  /** Signed by the authority of `caFile`, with the Common Name that was asked for. */
  clientCertFile: string
  clientKeyFile: string
  /** The same Common Name, signed by nobody. */
  strangerCertFile: string
  strangerKeyFile: string
  /** Removes the folder. */
  remove(): Promise<void>
}

// The same path from the source and from `dist`, which is one folder deeper.
const SCRIPTS = [
  new URL('./make-certificates.sh', import.meta.url),
  new URL('../../support/make-certificates.sh', import.meta.url),
]

/** Makes an authority and its certificates in a fresh temporary folder, with the `openssl` command. */
export async function makeCertificates(clientCommonName = 'device-1'): Promise<TestCertificates> {
  const folder = await mkdtemp(join(tmpdir(), 'midge-tls-'))
  const script = SCRIPTS.map(url => fileURLToPath(url)).find(path => existsSync(path))
  if (script === undefined) throw new Error('make-certificates.sh is missing')
  await promisify(execFile)('sh', [script, folder, clientCommonName])
  return {
    folder,
    caFile: join(folder, 'ca.pem'),
    serverCertFile: join(folder, 'server.pem'),
    serverKeyFile: join(folder, 'server.key'),
    expiredCertFile: join(folder, 'expired.pem'),
    clientCertFile: join(folder, 'client.pem'),
    clientKeyFile: join(folder, 'client.key'),
    strangerCertFile: join(folder, 'stranger.pem'),
    strangerKeyFile: join(folder, 'stranger.key'),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
