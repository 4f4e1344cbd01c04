import { collectDefaultMetrics, Registry } from 'prom-client'
import { NODE_CATALOGUE } from './catalogue.ts'

const INTRO = `# Metrics

<!-- Generated from packages/metrics-exporter/src/catalogue.ts by scripts/generate-docs.mjs; do not edit. -->

Every node serves its own metrics at \`GET /metrics\` of its HTTP port, in the Prometheus text format. Values are read
when somebody asks. Names end in \`_total\` for counters and in a base unit where there is one. No label holds a client
id or a topic, so the number of series does not grow with the number of clients.

Worth an alert: any increase of \`midge_messages_dropped_total\` that you did not plan (\`reason\` says why),
\`midge_store_commit_failures_total\`, \`midge_suback_barrier_timeouts_total\`, \`midge_node_ready\` at 0, and
\`nodejs_eventloop_lag_p99_seconds\` above 0.2.
`

/** The text of `docs/metrics.md`. */
export async function renderMetricsDoc(): Promise<string> {
  const parts = [INTRO]
  for (const [title, definitions] of NODE_CATALOGUE) {
    parts.push(`\n## ${title}\n\n| Metric | Type | Unit | Labels | What it counts |\n|---|---|---|---|---|\n`)
    for (const { name, type, unit, labels, help } of definitions) {
      const shown = labels.map(label => `\`${label}\``).join(', ')
      parts.push(`| \`${name}\` | ${type} | ${unit} | ${shown === '' ? '–' : shown} | ${help} |\n`)
    }
  }
  parts.push('\n## Process\n\nWritten by prom-client under the names that dashboards for Node.js know.\n\n')
  parts.push('| Metric | Type | What it counts |\n|---|---|---|\n')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const { name, type, help } of await registry.getMetricsAsJSON()) {
    parts.push(`| \`${name}\` | ${type} | ${help.replace(/\.?$/, '.')} |\n`)
  }
  return parts.join('')
}
