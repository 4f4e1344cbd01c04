import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { type MetricDefinition, NODE_CATALOGUE } from './catalogue.ts'
import type { NodeSources } from './sources.ts'

/** The metrics of a node, ready to be served. */
export interface NodeMetrics {
  contentType: string
  /** Reads every source and renders the Prometheus text format. */
  text(): Promise<string>
}

function register(registry: Registry, definition: MetricDefinition, sources: NodeSources): void {
  const base = {
    name: definition.name,
    help: definition.help,
    labelNames: [...definition.labels],
    registers: [registry],
  }
  if (definition.type === 'gauge') {
    new Gauge({
      ...base,
      collect() {
        this.reset()
        for (const { value, labels } of definition.read(sources)) this.set(labels ?? {}, value)
      },
    })
    return
  }
  new Counter({
    ...base,
    collect() {
      // The source holds the total; prom-client's own sum is only its carrier.
      this.reset()
      for (const { value, labels } of definition.read(sources)) this.inc(labels ?? {}, value)
    },
  })
}

/**
 * Puts the catalogue and the metrics of the process (processor, memory, event-loop lag, garbage collection, file
 * descriptors) over one node's sources. Costs nothing until somebody scrapes, except for one native lag sampler.
 */
export function createNodeMetrics(sources: NodeSources): NodeMetrics {
  const registry = new Registry()
  for (const definitions of NODE_CATALOGUE.values()) {
    for (const definition of definitions) register(registry, definition, sources)
  }
  collectDefaultMetrics({ register: registry })
  return { contentType: registry.contentType, text: () => registry.metrics() }
}
