const HIDDEN = new Set(['level', 'time', 'msg', 'event', 'nodeId', 'version', 'component'])

function show(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const message = (value as { message?: unknown }).message
  return typeof message === 'string' ? message : JSON.stringify(value)
}

/** Turns one JSON line of the log into one line for a person; a line that is not JSON stays as it is. */
export function prettyLine(line: string): string {
  let record: Record<string, unknown>
  try {
    record = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const clock = String(record['time'] ?? '').slice(11, 19)
  const level = String(record['level'] ?? '').padEnd(5)
  const rest = Object.entries(record)
    .filter(([name]) => !HIDDEN.has(name))
    .map(([name, value]) => `${name}=${show(value)}`)
  return [clock, level, record['msg'] ?? record['event'], ...rest].join(' ')
}
