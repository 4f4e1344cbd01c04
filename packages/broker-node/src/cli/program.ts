import { Command, CommanderError } from 'commander'
import { isNear, nearest } from '../config/config-keys.ts'
import { loadConfig } from '../config/load-config.ts'
import { describeConfig } from '../config/print.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import { wholeNumber, withExamples } from './command-parts.ts'
import { addControl } from './control/add-control.ts'
import { ExitCode, reportFailure } from './exit-codes.ts'
import { addImport } from './import-program.ts'
import { addMessages } from './messages/add-messages.ts'

interface ConfigFlags {
  config?: string
  set?: string[]
}

function withConfigFlags(command: Command): Command {
  const collect = (value: string, before: string[] = []): string[] => [...before, value]
  return command
    .option('--config <file>', 'YAML file with the configuration')
    .option('--set <key=value>', 'set one key, for example listeners.tcp.port=1884; may be repeated', collect)
}

const sourcesOf = (flags: ConfigFlags) => ({ file: flags.config, set: flags.set })

/** What to say about a command that does not exist. */
function unknownCommand(program: Command, word: string): string {
  const names = program.commands.map(entry => entry.name())
  const known = names.find(name => name.startsWith(word)) ?? nearest(word, names)
  const hint =
    known.startsWith(word) || isNear(word, known)
      ? `the nearest known one is \`${known}\``
      : `there are ${names.join(', ')}`
  return `midge: unknown command \`${word}\`; ${hint}\n`
}

type Finish = (code: number) => void

function addStart(program: Command, finish: Finish): void {
  withExamples(withConfigFlags(program.command('start', { isDefault: true })), [
    ['midge start', 'one node on port 1883, its data in .midge/data'],
    ['midge start --config midge.yml', 'with a configuration file'],
    ['midge start --set listeners.ws.port=8080', 'with MQTT over WebSocket too'],
    ['MIDGE_REDIS_URL=redis://127.0.0.1:6379 midge start', 'a node of a cluster'],
  ])
    .description('start a node; without redis.url it runs alone on its embedded store')
    .option('--details', 'print host, ports, user and password also when standard output is not a terminal')
    .allowExcessArguments(true)
    .action(async (flags: ConfigFlags & { details?: boolean }, command: Command) => {
      const [stray] = command.args
      if (stray !== undefined) {
        const isNamed = program.args[0] === command.name()
        process.stderr.write(isNamed ? `midge: start takes no \`${stray}\`\n` : unknownCommand(program, stray))
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
  withExamples(withConfigFlags(program.command('check-config')), [
    ['midge check-config --config midge.yml', 'exit code 0 when it is valid, 2 when it is not'],
  ])
    .description('check the configuration without starting')
    .action(
      guarded(flags => {
        loadConfig(sourcesOf(flags))
        process.stdout.write('the configuration is valid\n')
      }),
    )
  withExamples(withConfigFlags(program.command('print-config')), [
    ['midge print-config', 'the defaults, and what the environment sets'],
    ['midge print-config --config midge.yml', 'the same with a file'],
  ])
    .description('print every key with its value and where it came from; secrets are hidden')
    .action(
      guarded(flags => {
        process.stdout.write(`${describeConfig(loadConfig(sourcesOf(flags)))}\n`)
      }),
    )
}

function addStatus(program: Command, finish: Finish): void {
  withExamples(program.command('status'), [
    ['midge status', 'the node on this machine; exit code 0 when it is ready'],
    ['midge status --url http://10.0.0.5:18083 --json', 'another one, for a program'],
  ])
    .description('ask a running node how it is')
    .option('--url <address>', 'HTTP address of the node', 'http://127.0.0.1:18083')
    .option('--json', 'print the answer as JSON')
    .action(async (flags: { url: string; json?: boolean }) => {
      const { runStatus } = await import('./status.ts')
      finish(await runStatus(flags))
    })
}

function addCluster(program: Command, finish: Finish): void {
  withExamples(program.command('cluster'), [
    ['midge cluster', 'Redis, three nodes and a load balancer on port 1883'],
    ['midge cluster --nodes 5 --port 1884', 'five nodes behind another port'],
    ['midge cluster --redis redis://127.0.0.1:6379', 'on a Redis that runs already'],
  ])
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

/** Commander's own help command has nothing to say about a command that does not exist. */
function addHelp(program: Command, finish: Finish): void {
  program
    .command('help [command]')
    .description('display help for command')
    .action((name: string | undefined) => {
      const command = name === undefined ? program : program.commands.find(entry => entry.name() === name)
      if (command !== undefined) {
        command.outputHelp()
        return
      }
      process.stderr.write(unknownCommand(program, name ?? ''))
      finish(ExitCode.configuration)
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
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`midge: ${text.replace(/^error: /, '')}`) })
  addStart(program, finish)
  addConfigCommands(program, finish)
  addStatus(program, finish)
  addCluster(program, finish)
  addMessages(program, finish)
  addControl(program, finish)
  addImport(program, finish)
  addHelp(program, finish)
  withExamples(program, [
    ['midge start', 'one node; Ctrl-C ends it'],
    ['midge cluster', 'a cluster on this machine, for trying'],
    ['midge status', 'how the node on this machine is'],
    ['midge user add anna', 'a second user, with a password from the terminal'],
    ['midge acl add home/# --user anna --read', 'what it may do'],
    ['midge help start', 'the options of a command'],
  ])
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.configuration
    return reportFailure(error)
  }
  return code
}
