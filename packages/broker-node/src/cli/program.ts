import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { nearest } from '../config/keys.ts'
import { loadConfig } from '../config/load.ts'
import { describeConfig } from '../config/print.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import { ExitCode, reportFailure } from './exit-codes.ts'

interface ConfigFlags {
  config?: string
  set: string[]
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`It has to be a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

function withConfigFlags(command: Command): Command {
  const collect = (value: string, before: string[]): string[] => [...before, value]
  return command
    .option('--config <file>', 'YAML file with the configuration')
    .option('--set <key=value>', 'set one key, for example listeners.tcp.port=1884; may be repeated', collect, [])
}

const sourcesOf = (flags: ConfigFlags) => ({ file: flags.config, set: flags.set })

type Finish = (code: number) => void

function addStart(program: Command, finish: Finish): void {
  withConfigFlags(program.command('start', { isDefault: true }))
    .description('start a node; without redis.url it runs alone on its embedded store')
    .option('--details', 'print host, ports, user and password also when standard output is not a terminal')
    .allowExcessArguments(true)
    .action(async (flags: ConfigFlags & { details?: boolean }, command: Command) => {
      const [stray] = command.args
      if (stray !== undefined) {
        const known = nearest(
          stray,
          program.commands.map(entry => entry.name()),
        )
        process.stderr.write(`midge: unknown command \`${stray}\`; the nearest known one is \`${known}\`\n`)
        finish(ExitCode.configuration)
        return
      }
      const { runStart } = await import('./start.ts')
      finish(await runStart({ ...sourcesOf(flags), details: flags.details }))
    })
}

function addConfigCommands(program: Command, finish: Finish): void {
  const guarded = (run: (flags: ConfigFlags) => void) => (flags: ConfigFlags) => {
    try {
      run(flags)
    } catch (error) {
      finish(reportFailure(error))
    }
  }
  withConfigFlags(program.command('check-config'))
    .description('check the configuration without starting')
    .action(
      guarded(flags => {
        loadConfig(sourcesOf(flags))
        process.stdout.write('the configuration is valid\n')
      }),
    )
  withConfigFlags(program.command('print-config'))
    .description('print every key with its value and where it came from; secrets are hidden')
    .action(
      guarded(flags => {
        process.stdout.write(`${describeConfig(loadConfig(sourcesOf(flags)))}\n`)
      }),
    )
}

function addStatus(program: Command, finish: Finish): void {
  program
    .command('status')
    .description('ask a running node how it is')
    .option('--url <address>', 'HTTP address of the node', 'http://127.0.0.1:18083')
    .option('--json', 'print the answer as JSON')
    .action(async (flags: { url: string; json?: boolean }) => {
      const { runStatus } = await import('./status.ts')
      finish(await runStatus(flags))
    })
}

function addCluster(program: Command, finish: Finish): void {
  program
    .command('cluster')
    .description('run a local cluster for trying: Redis, several nodes, one load balancer')
    .option('--nodes <count>', 'number of nodes', wholeNumber(1, 64), 3)
    .option('--redis <url>', 'use this Redis rather than starting one')
    .option('--port <port>', 'MQTT port of the load balancer', wholeNumber(0, 65_535), 1883)
    .option('--data <folder>', 'folder for what the cluster writes; a temporary one when absent')
    .action(async (flags: { nodes: number; redis?: string; port: number; data?: string }) => {
      const { runCluster } = await import('./cluster.ts')
      try {
        finish(await runCluster(flags))
      } catch (error) {
        finish(reportFailure(error))
      }
    })
}

/**
 * Runs one command line.
 *
 * @param args - without the interpreter and the script
 * @returns the exit code; `start` of a healthy node never returns
 */
export async function runCli(args: readonly string[]): Promise<number> {
  let code: number = ExitCode.ok
  const finish: Finish = value => {
    code = value
  }
  const program = new Command('midge')
    .description('An MQTT 3.1, 3.1.1 and 5 broker that scales by adding nodes')
    .version(MIDGE_VERSION)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`midge: ${text.replace(/^error: /, '')}`) })
  addStart(program, finish)
  addConfigCommands(program, finish)
  addStatus(program, finish)
  addCluster(program, finish)
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.configuration
    return reportFailure(error)
  }
  return code
}
