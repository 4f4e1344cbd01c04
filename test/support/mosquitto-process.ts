import { TestProcess } from './test-process.ts'
import { until } from './until.ts'

/** Starts a Mosquitto with this configuration, and resolves when it serves. */
export async function startMosquitto(file: string): Promise<TestProcess> {
  const program = new TestProcess('mosquitto', 'mosquitto', ['-v', '-c', file])
  const said = (): string => program.stdout + program.stderr
  const isServing = (): boolean => {
    if (!program.isRunning) throw new Error(`Mosquitto ended\n${program.tail()}`)
    return said().includes('running')
  }
  await until('Mosquitto to run', isServing, 10_000, () => program.tail())
  return program
}
