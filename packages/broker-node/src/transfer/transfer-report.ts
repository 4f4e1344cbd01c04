import type { Bundle } from './bundle.ts'
import type { Outcome, TransferOutcome } from './instance-writer.ts'

/** What a person, or a program, is told of a move. */
export interface TransferReport {
  readonly isDryRun: boolean
  readonly read: { readonly users: number; readonly rules: number }
  /** Absent in a dry run. */
  readonly written?: TransferOutcome
  readonly remarks: Bundle['remarks']
}

/** @param written - absent in a dry run */
export function reportOf(bundle: Bundle, written: TransferOutcome | undefined): TransferReport {
  return {
    isDryRun: written === undefined,
    read: { users: bundle.users.length, rules: bundle.rules.length },
    ...(written === undefined ? {} : { written }),
    remarks: bundle.remarks,
  }
}

/** @returns whether everything that was read is there */
export function isComplete({ written }: TransferReport): boolean {
  return written === undefined || (written.users.failed.length === 0 && written.rules.failed.length === 0)
}

/** The report as lines for a person. */
export function describeTransfer({ read, written, remarks }: TransferReport): string {
  const lines =
    written === undefined
      ? [`users     ${read.users} found`, `rules     ${read.rules} found`, 'nothing was written: this was a dry run']
      : [`users     ${describe(written.users)}`, `rules     ${describe(written.rules)}`]
  const failed = written === undefined ? [] : [...written.users.failed, ...written.rules.failed]
  for (const { subject, detail } of failed) lines.push(`failed    ${subject}: ${detail}`)
  for (const { kind, at, text } of remarks)
    lines.push(`${kind === 'differs' ? 'differs ' : 'left out'}  ${at}: ${text}`)
  return lines.join('\n')
}

function describe({ created, changed, kept, failed }: Outcome): string {
  return `${created} created, ${changed} changed, ${kept} there already, ${failed.length} failed`
}
