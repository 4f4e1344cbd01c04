import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type BrokerName, startBroker } from './brokers.ts'
import type { BenchCase } from './cases.ts'
import type { Job, Outcome, Reply } from './job.ts'

const JOB_TIMEOUT_MS = 180_000

/** Runs a job in a process of its own, so that the generator starts from the same state every time. */
function generate(job: Job): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('generator/main.js', import.meta.url)), { execArgv: [] })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`the generator did not finish within ${JOB_TIMEOUT_MS} ms`))
    }, JOB_TIMEOUT_MS)
    child.once('message', message => {
      const reply = message as Reply
      if ('outcome' in reply) resolve(reply.outcome)
      else reject(new Error(reply.error))
    })
    child.once('exit', code => {
      clearTimeout(timer)
      reject(new Error(`the generator ended with code ${code}`))
    })
    child.send(job)
  })
}

/** Starts a broker, does one case and stops the broker. */
export async function runCase(
  benchCase: BenchCase,
  name: BrokerName,
  measureMs: number,
  profileFolder?: string,
): Promise<Outcome> {
  const profile = profileFolder === undefined ? {} : { profileFolder }
  const broker = await startBroker(name, { ...benchCase.setting, ...profile })
  try {
    const { publishPort, subscribePort, user, password, pids } = broker
    return await generate({ ...benchCase.job, publishPort, subscribePort, user, password, measureMs, brokerPids: pids })
  } finally {
    await broker.stop()
  }
}
