import { type Command, InvalidArgumentError } from 'commander'
import { wholeNumber, withExamples } from '../command-parts.ts'
import { reportFailure } from '../exit-codes.ts'
import type { PublishFlags } from './run-publish.ts'
import type { SubscribeFlags } from './run-subscribe.ts'

type Finish = (code: number) => void

const SECONDS_MAX = 2_000_000

function oneOf<T extends number>(values: readonly T[]): (text: string) => T {
  return text => {
    const value = values.find(entry => String(entry) === text)
    if (value === undefined) throw new InvalidArgumentError(`It has to be one of ${values.join(', ')}.`)
    return value
  }
}

function withTargetFlags(command: Command): Command {
  return command
    .option('--url <address>', 'broker as mqtt://user:password@host:port; mqtts, ws and wss too')
    .option('--host <name>', 'host of the broker; the node on this machine when absent')
    .option('--port <port>', 'port of the broker', wholeNumber(1, 65_535))
    .option('--user <name>', 'user; of a local node its first one when absent')
    .option('--password-file <file>', 'the first line of this file is the password')
    .option('--password-stdin', 'the first line of standard input is the password')
    .option('--tls', 'connect with TLS')
    .option('--ca <file>', 'certificates (PEM) that sign the one of the broker')
    .option('--ws', 'connect with WebSocket, path /mqtt')
    .option('--mqtt <version>', '3 (3.1), 4 (3.1.1) or 5', oneOf([3, 4, 5]), 5)
    .option('--client-id <id>', 'client id; made up when absent')
    .option('--connect-timeout <seconds>', 'time to wait for the connection', wholeNumber(1, 600), 10)
    .option('--qos <level>', 'quality of service: 0, 1 or 2', oneOf([0, 1, 2]), 0)
}

async function guarded(finish: Finish, run: () => Promise<number>): Promise<void> {
  const { MessageFailure } = await import('./connect-once.ts')
  try {
    finish(await run())
  } catch (error) {
    if (error instanceof MessageFailure) {
      process.stderr.write(`midge: ${error.message}\n`)
      finish(error.code)
    } else finish(reportFailure(error))
  }
}

/** Adds `pub` and `sub`; the client library is loaded by those two only. */
export function addMessages(program: Command, finish: Finish): void {
  const collect = (value: string, before: string[] = []): string[] => [...before, value]
  withTargetFlags(
    withExamples(program.command('pub'), [
      ['midge pub sensors/a 21.5 --qos 1 --retain', 'to the node on this machine'],
      ['midge pub sensors/a --lines --url mqtt://10.0.0.5', 'a message for each line of standard input'],
    ]),
  )
    .description('publish a message')
    .argument('<topic>')
    .argument('[message]')
    .option('--retain', 'keep it as the last message of the topic')
    .option('--file <file>', 'the message is what the file holds')
    .option('--stdin', 'the message is standard input')
    .option('--lines', 'each line of standard input is a message')
    .option('--empty', 'an empty message; with --retain it deletes the kept one')
    .option('--property <name=value>', 'MQTT 5 user property; may be repeated', collect)
    .option('--content-type <type>', 'MQTT 5 content type')
    .option('--response-topic <topic>', 'MQTT 5 response topic')
    .option('--expiry <seconds>', 'MQTT 5 message expiry', wholeNumber(1, 4_294_967_295))
    .action((topic: string, message: string | undefined, flags: PublishFlags) =>
      guarded(finish, async () => (await import('./run-publish.ts')).runPublish(topic, message, flags)),
    )
  withTargetFlags(
    withExamples(program.command('sub'), [
      ['midge sub sensors/#', 'what arrives at the node on this machine, until Ctrl-C'],
      ['midge sub sensors/# -c 1 --timeout 5 --json', 'one message for a program; exit code 5 without one'],
    ]),
  )
    .description('print the messages of topics')
    .argument('<filters...>')
    .option('-c, --count <messages>', 'end after so many', wholeNumber(1, 1_000_000_000))
    .option('--timeout <seconds>', 'end after so long with exit code 5', wholeNumber(1, SECONDS_MAX))
    .option('--json', 'a JSON object for each message')
    .option('--payload-only', 'without the topic')
    .action((filters: string[], flags: SubscribeFlags) =>
      guarded(finish, async () => (await import('./run-subscribe.ts')).runSubscribe(filters, flags)),
    )
}
