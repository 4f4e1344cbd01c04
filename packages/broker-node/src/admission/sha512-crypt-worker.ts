import { parentPort } from 'node:worker_threads'
import { sha512Crypt } from './sha512-crypt.ts'

/** What the thread is asked, and what it answers. */
export interface CryptJob {
  id: number
  password: Uint8Array
  salt: Uint8Array
  rounds: number
}

/** See {@link CryptJob}. */
export interface CryptResult {
  id: number
  text: string
}

parentPort?.on('message', ({ id, password, salt, rounds }: CryptJob) => {
  const result: CryptResult = { id, text: sha512Crypt(password, salt, rounds) }
  parentPort?.postMessage(result)
})
