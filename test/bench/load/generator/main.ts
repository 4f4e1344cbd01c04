// Entry of the generator's process: one job in, one reply out.
import { runJob } from '../generator.ts'
import type { Job, Reply } from '../job.ts'

function reply(message: Reply): void {
  process.send?.(message, () => process.exit(0))
}

// A receiver throws inside a socket's callback when a broker delivers something else.
process.on('uncaughtException', error => reply({ error: error.message }))
process.once('message', message => {
  runJob(message as Job).then(
    outcome => reply({ outcome }),
    (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }),
  )
})
