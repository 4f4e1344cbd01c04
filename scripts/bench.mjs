// `npm run bench`: builds, then measures this broker against others; arguments go to the benchmark.
import { join } from 'node:path'
import { checkNodeVersion, ensureInstalled, fail, root, run, say } from './prepare.mjs'

checkNodeVersion()
ensureInstalled()
say('building')
if (run(process.execPath, [join(root, 'scripts/build.mjs')]) !== 0) fail('the build failed: see above')
process.exitCode = run(process.execPath, [join(root, 'test/dist/bench/load/main.js'), ...process.argv.slice(2)])
