import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The repository; tests run from `test/dist/arch`. */
export const root: URL = new URL('../../../', import.meta.url)

/** Folders that no commit contains; `.gitignore` says the same. */
const UNTRACKED = new Set(['node_modules', 'dist', '.git', '.midge', 'coverage', 'bench-results'])

/** A file of the repository: its path from the root, with `/`, and its text. */
export interface SourceFile {
  path: string
  text: string
}

export function read(path: string): string {
  return readFileSync(new URL(path, root), 'utf8')
}

/** Paths of all files below `folder` ('' for the whole repository), sorted. */
export function listFiles(folder: string): string[] {
  const found: string[] = []
  const base = folder === '' ? '' : `${folder}/`
  for (const entry of readdirSync(fileURLToPath(new URL(base, root)), { withFileTypes: true })) {
    if (UNTRACKED.has(entry.name)) continue
    if (entry.isDirectory()) found.push(...listFiles(`${base}${entry.name}`))
    else if (entry.isFile() && !/\.(log|tsbuildinfo)$/.test(entry.name)) found.push(`${base}${entry.name}`)
  }
  return found.sort()
}

/** All files below the folders whose path ends in one of `endings`, with their texts. */
export function readAll(folders: readonly string[], endings: readonly string[]): SourceFile[] {
  return folders
    .flatMap(listFiles)
    .filter(path => endings.some(ending => path.endsWith(ending)))
    .map(path => ({ path, text: read(path) }))
}

/** Test code: it may use real parts, a clock and the environment. */
export function isTest(path: string): boolean {
  return path.startsWith('test/') || path.includes('/testing/') || /\.test\.([\w-]+\.)?ts$/.test(path)
}

/** The code with its comments blanked, line numbers kept; good enough for our own formatted sources. */
export function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, comment => comment.replace(/[^\n]/g, ' ')).replace(/(^|\s)\/\/ .*$/gm, '$1')
}

/** One import, re-export or load on demand of a file. */
export interface ImportLine {
  specifier: string
  /** Number of the line, from 1. */
  line: number
  /** Nothing of it is left when types are erased. */
  isTypeOnly: boolean
}

/** What a file imports, re-exports or loads on demand. */
export function importsOf(text: string): ImportLine[] {
  const code = withoutComments(text)
  const pattern =
    /^(import|export) (type )?[^'"()=;]*?\bfrom '([\w@./:-]+)'|^import '([\w@./:-]+)'|\bimport\(\s*'([\w@./:-]+)'\s*\)/gm
  return [...code.matchAll(pattern)].map(match => ({
    specifier: match[3] ?? match[4] ?? match[5] ?? '',
    line: lineAt(code, match.index + match[0].length),
    isTypeOnly: match[2] !== undefined,
  }))
}

export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}
