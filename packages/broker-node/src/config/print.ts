import { CONFIG_KEYS } from './config-keys.ts'
import type { LoadedConfig } from './load-config.ts'

function valueAt(tree: unknown, key: string): unknown {
  let value = tree
  for (const part of key.split('.')) value = (value as Record<string, unknown> | undefined)?.[part]
  return value
}

/** One line a key: name, value (secrets hidden) and where it came from. */
export function describeConfig(loaded: LoadedConfig): string {
  const rows = CONFIG_KEYS.map(({ key, meta }) => {
    const value = valueAt(loaded.config, key)
    const hidden = meta.secret === true && value !== undefined
    const shown = value === undefined ? '-' : hidden ? '[hidden]' : JSON.stringify(value)
    return { key, shown, origin: loaded.origins.get(key) ?? 'default' }
  })
  const keyWidth = Math.max(...rows.map(row => row.key.length))
  const valueWidth = Math.max(...rows.map(row => row.shown.length))
  return rows
    .map(({ key, shown, origin }) => `${key.padEnd(keyWidth)}  ${shown.padEnd(valueWidth)}  # ${origin}`)
    .join('\n')
}
