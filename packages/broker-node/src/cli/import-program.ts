import type { Command } from 'commander'
import { reportFailure } from './exit-codes.ts'
import type { ImportFlags, MosquittoFlags } from './import.ts'

const EXAMPLES = `
Examples:
  midge import mosquitto /etc/mosquitto/mosquitto.conf --dry-run            what would be taken, and what not
  midge import mosquitto /etc/mosquitto/mosquitto.conf --key-file key.txt   into the instance of a new node`

/** Adds `midge import`. */
export function addImport(program: Command, finish: (code: number) => void): void {
  const command = program.command('import').description('move users and rules of another broker into an instance')
  const guarded = async (run: () => Promise<number>): Promise<void> => {
    try {
      finish(await run())
    } catch (error) {
      finish(reportFailure(error))
    }
  }
  withTarget(command.command('mosquitto <mosquitto.conf>'))
    .description('from Mosquitto: password file, ACL file, dynamic security')
    .option('--root <folder>', "a copy of another machine's files; absolute paths are looked for below it")
    .option('--listener <port>', 'the listener to move, where each has users of its own', Number)
    .action((conf: string, flags: MosquittoFlags) =>
      guarded(async () => {
        const { importMosquitto } = await import('./import.ts')
        return importMosquitto(conf, flags)
      }),
    )
  withTarget(command.command('mosca <credentials.json>'))
    .description('from Mosca: the file of `mosca --credentials`')
    .action((credentials: string, flags: ImportFlags) =>
      guarded(async () => {
        const { importMosca } = await import('./import.ts')
        return importMosca(credentials, flags)
      }),
    )
  withTarget(command.command('hbmqtt <config.yaml>'))
    .description('from HBMQTT, or aMQTT with the same keys: password file, topic-check')
    .option('--root <folder>', "a copy of another machine's files; absolute paths are looked for below it")
    .action((config: string, flags: ImportFlags & { root?: string }) =>
      guarded(async () => {
        const { importHbmqtt } = await import('./import.ts')
        return importHbmqtt(config, flags)
      }),
    )
  command.addHelpText('after', EXAMPLES)
}

function withTarget(command: Command): Command {
  return command
    .option('--url <address>', 'HTTP address of the node', 'http://127.0.0.1:18083')
    .option('--key-file <file>', 'file with a key of the API that may write')
    .option('--into <instance>', 'instance that it is moved into', 'default')
    .option('--overwrite', 'users that are there already get the password of the other broker')
    .option('--dry-run', 'read and report, and write nothing')
    .option('--json', 'print the report as JSON')
}
