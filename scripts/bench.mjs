// `npm run bench`: builds, then measures this broker against others; arguments go to the benchmark.
// With --micro: the micro benches, one hot function a file.
import { join } from 'node:path'
import { checkNodeVersion, ensureInstalled, fail, root, run, say } from './prepare.mjs'

checkNodeVersion()
ensureInstalled()
say('building')
if (run(process.execPath, [join(root, 'scripts/build.mjs')]) !== 0) fail('the build failed: see above')
const words = process.argv.slice(2)
const kind = words.includes('--micro') ? 'micro' : 'load'
const rest = words.filter(word => word !== '--micro')
process.exitCode = run(process.execPath, [join(root, 'test/dist/bench', kind, 'main.js'), ...rest])
