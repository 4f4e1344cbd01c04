// Writes the documents that come from code; with --check only compares them and exits 1 on a difference.
import { readFileSync, writeFileSync } from 'node:fs'

const root = new URL('../', import.meta.url)
const fromDist = path => import(new URL(`packages/${path}`, root).href)

const { renderConfigurationDoc } = await fromDist('broker-node/dist/config/document.js')
const { DURABILITY_SENTENCES } = await fromDist('broker-node/dist/lifecycle/durability.js')
const { renderMetricsDoc } = await fromDist('metrics-exporter/dist/index.js')

const documents = {
  'docs/configuration.md': renderConfigurationDoc(DURABILITY_SENTENCES),
  'docs/metrics.md': await renderMetricsDoc(),
}

function current(path) {
  try {
    return readFileSync(new URL(path, root), 'utf8')
  } catch {
    return ''
  }
}

let stale = 0
for (const [path, text] of Object.entries(documents)) {
  if (current(path) === text) continue
  if (process.argv.includes('--check')) {
    console.error(`${path} is not what the code says: run node scripts/generate-docs.mjs`)
    stale++
  } else {
    writeFileSync(new URL(path, root), text)
    console.log(`wrote ${path}`)
  }
}
process.exitCode = stale === 0 ? 0 : 1
