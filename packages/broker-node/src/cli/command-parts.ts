import { type Command, InvalidArgumentError } from 'commander'

/** Takes the text of an option that is a whole number. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`It has to be a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

/** Adds command lines that can be pasted below the help of a command. */
export function withExamples(command: Command, examples: readonly (readonly [line: string, what: string])[]): Command {
  const width = Math.max(...examples.map(([line]) => line.length))
  const rows = examples.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`)
  return command.addHelpText('after', `\nExamples:\n${rows.join('\n')}`)
}
