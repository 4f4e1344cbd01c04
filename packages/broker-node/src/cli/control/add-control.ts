import { type Command, Option } from 'commander'
import { type ControlOptions, runLog, runVerb } from './run-verb.ts'
import { NOUNS, VERBS, type Verb } from './verbs.ts'

/** Adds the commands that go by way of the HTTP API; `finish` gets their exit codes. */
export function addControl(program: Command, finish: (code: number) => void): void {
  for (const [noun, about] of Object.entries(NOUNS)) {
    const group = program.command(noun).description(about)
    for (const verb of VERBS) if (verb.name.startsWith(`${noun} `)) addVerb(group, verb, finish)
  }
  withAccess(program.command('log').description('what happens to the clients of an instance'))
    .option('--follow', 'go on with what happens from now on')
    .action(async (options: ControlOptions & { follow?: boolean }) => finish(await runLog(options)))
}

function addVerb(group: Command, verb: Verb, finish: (code: number) => void): void {
  const [, name = ''] = verb.name.split(' ')
  const command = withAccess(group.command(`${name} ${verb.args ?? ''}`.trim()).description(verb.about))
  for (const [flags, about, initial] of verb.options ?? []) command.addOption(new Option(flags, about).default(initial))
  if (verb.asksPassword === true) {
    command
      .option('--password-file <file>', 'read the password from a file')
      .option('--password-stdin', 'read the password from standard input')
  }
  if (verb.confirm !== undefined) command.option('--yes', 'do not ask first')
  command.action(async () => {
    const names = command.registeredArguments.map(argument => argument.name())
    const args = Object.fromEntries(
      names.flatMap((word, i) => (command.args[i] === undefined ? [] : [[word, command.args[i]]])),
    )
    finish(await runVerb(verb, args, command.opts<ControlOptions>()))
  })
}

function withAccess(command: Command): Command {
  return command
    .option('-i, --instance <id>', 'the instance it is about', 'default')
    .option('--api <url>', 'HTTP address of any node (MIDGE_API_URL; http://127.0.0.1:18083)')
    .option('--api-key-file <file>', 'file with the API key (MIDGE_API_KEY; what the node on this machine keeps)')
    .option('--json', 'print the answer as JSON')
}
