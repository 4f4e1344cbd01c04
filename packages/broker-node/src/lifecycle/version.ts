import { readFileSync } from 'node:fs'

function readVersion(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** Version of this broker, from its package. */
export const MIDGE_VERSION: string = readVersion()
