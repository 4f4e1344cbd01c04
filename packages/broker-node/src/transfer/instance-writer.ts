import { z } from 'zod'
import type { Bundle, MovedRule, MovedUser } from './bundle.ts'

/** The instance of a running node that something is moved into. */
export interface TransferTarget {
  /** Sends one request of the HTTP API; `path` is behind that of the instance. Rejects when it is refused. */
  send(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown>
  /** Users that are there already get the password of the bundle. */
  readonly overwrite?: boolean | undefined
}

/** What became of users or rules. */
export interface Outcome {
  created: number
  /** There already, and changed because that was asked for. */
  changed: number
  /** There already, and left as they are. */
  kept: number
  failed: { subject: string; detail: string }[]
}

/** What became of a bundle. */
export interface TransferOutcome {
  readonly users: Outcome
  readonly rules: Outcome
}

/** Of one request; the API takes more. */
const USERS_AT_ONCE = 500
const RULES_AT_ONCE = 500

const importAnswer = z.object({
  created: z.number(),
  changed: z.number(),
  failed: z.array(z.object({ username: z.string(), code: z.string(), detail: z.string() })),
})
const rulePage = z.object({ items: z.array(z.record(z.string(), z.unknown())), cursor: z.string().optional() })

/** Puts bundles into an instance by the HTTP API. The same bundle a second time changes nothing. */
export class InstanceWriter {
  private readonly target: TransferTarget

  constructor(target: TransferTarget) {
    this.target = target
  }

  /** @throws what the target's `send` rejects with */
  async write(bundle: Bundle): Promise<TransferOutcome> {
    return { users: await this.writeUsers(bundle.users), rules: await this.writeRules(bundle.rules) }
  }

  private async writeUsers(users: readonly MovedUser[]): Promise<Outcome> {
    const outcome = nothingYet()
    const overwrite = this.target.overwrite === true
    for (let start = 0; start < users.length; start += USERS_AT_ONCE) {
      const part = users.slice(start, start + USERS_AT_ONCE).map(({ username, hash, isEnabled }) => ({
        username,
        ...(hash === undefined ? {} : { proof: { hash } }),
        ...(isEnabled === undefined ? {} : { isEnabled }),
      }))
      const answer = importAnswer.parse(await this.target.send('POST', 'users/import', { users: part, overwrite }))
      outcome.created += answer.created
      outcome.changed += answer.changed
      for (const { username: subject, code, detail } of answer.failed) {
        if (code === ALREADY_THERE) outcome.kept++
        else outcome.failed.push({ subject, detail })
      }
    }
    return outcome
  }

  private async writeRules(rules: readonly MovedRule[]): Promise<Outcome> {
    const outcome = nothingYet()
    const known = rules.length === 0 ? new Set<string>() : await this.knownRules()
    const missing = new Map<string, MovedRule>()
    for (const rule of rules) {
      const text = identityOf(rule)
      if (known.has(text)) outcome.kept++
      else missing.set(text, rule)
    }
    const rows = [...missing.values()]
    for (let start = 0; start < rows.length; start += RULES_AT_ONCE) {
      const part = rows.slice(start, start + RULES_AT_ONCE)
      await this.target.send('POST', 'rules', part)
      outcome.created += part.length
    }
    return outcome
  }

  private async knownRules(): Promise<Set<string>> {
    const known = new Set<string>()
    let cursor: string | undefined
    do {
      const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const page = rulePage.parse(await this.target.send('GET', `rules?limit=1000${query}`))
      for (const row of page.items) known.add(identityOf(row))
      cursor = page.cursor
    } while (cursor !== undefined)
    return known
  }
}

const ALREADY_THERE = 'MIDGE_ALREADY_EXISTS'

function nothingYet(): Outcome {
  return { created: 0, changed: 0, kept: 0, failed: [] }
}

/** Two rules are one when they say the same of the same clients. */
function identityOf(rule: Readonly<Record<string, unknown>>): string {
  const { type, username, pattern, read, write, effect, priority, qos, retain } = rule
  return JSON.stringify([type, username, pattern, read, write, effect, priority, qos, retain])
}
