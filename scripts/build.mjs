// Compiles everything and puts the Lua scripts beside their loaders. With --packages it leaves test/ out.
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { buildStamp, checkNodeVersion, ensureInstalled, filesBelow, packageFolders, root, runTool } from './prepare.mjs'

checkNodeVersion()
ensureInstalled()

// The compiler believes its own notes: with them and without the output it would write nothing.
for (const folder of [...packageFolders, join(root, 'test')]) {
  if (!existsSync(join(folder, 'dist'))) rmSync(join(folder, 'tsconfig.tsbuildinfo'), { force: true })
}

const target = process.argv.includes('--packages') ? ['packages/broker-node'] : []
const startedAt = new Date()
const code = runTool('typescript', 'tsc', ['-b', ...target])
if (code !== 0) process.exit(code)

for (const folder of packageFolders) {
  const sources = join(folder, 'src')
  for (const path of filesBelow(sources, name => name.endsWith('.lua'))) {
    const copy = join(folder, 'dist', relative(sources, path))
    mkdirSync(dirname(copy), { recursive: true })
    copyFileSync(path, copy)
  }
}
writeFileSync(buildStamp, `${startedAt.toISOString()}\n`)
