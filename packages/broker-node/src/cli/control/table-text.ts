/** How one column of a table is made. */
export interface Column {
  title: string
  /** Field of the row; with dots for what is inside. */
  field: string
}

type Row = Record<string, unknown>

/** Fields that hold a time, and not a length of time. */
const TIME_FIELD = /(?:^|\.)(?:\w+A|a)tMs$|untilMs$/

/** Rows under their titles, as wide as they need to be and no wider than `widthMax`. */
export function tableText(rows: readonly unknown[], columns: readonly Column[], widthMax: number): string {
  const cells = rows.map(row => columns.map(column => cellText(fieldOf(row, column.field), column.field)))
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map(line => line[i]?.length ?? 0)))
  const lines = [columns.map(({ title }) => title), ...cells].map(line =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return lines.map(line => (line.length > widthMax ? `${line.slice(0, widthMax - 1)}…` : line)).join('\n')
}

/** The fields of one thing, a line each. */
export function fieldsText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = flatten(value as Row)
  const width = Math.max(0, ...entries.map(([name]) => name.length))
  return entries.map(([name, field]) => `${name.padEnd(width)}  ${cellText(field, name)}`).join('\n')
}

function flatten(row: Row, prefix = ''): [string, unknown][] {
  return Object.entries(row).flatMap(([name, value]): [string, unknown][] => {
    const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isGroup ? flatten(value as Row, `${prefix}${name}.`) : [[`${prefix}${name}`, value]]
  })
}

function fieldOf(row: unknown, path: string): unknown {
  let value = row
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Row)[name]
  }
  return value
}

function cellText(value: unknown, field: string): string {
  if (value === undefined || value === null) return '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number' && TIME_FIELD.test(field)) return new Date(value).toISOString().slice(0, 19)
  if (Array.isArray(value))
    return value.map(entry => (typeof entry === 'object' ? JSON.stringify(entry) : entry)).join(',')
  // What clients have chosen may hold anything; a terminal obeys control characters.
  return String(value).replace(/\p{Cc}/gu, '·')
}
