import { runCli } from './cli/program.ts'

// `start` ends the process itself; whatever another command leaves open must not keep it.
process.exit(await runCli(process.argv.slice(2)))
