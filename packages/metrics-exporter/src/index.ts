export { renderMetricsDoc } from './document.ts'
export type { NodeMetrics } from './node-metrics.ts'
export { createNodeMetrics } from './node-metrics.ts'
export type { NodeCounters, NodeFacts, NodeSources } from './sources.ts'
