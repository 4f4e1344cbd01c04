import type { NewRule } from './tenancy.ts'

/** A set of rules that many need. */
export interface RuleTemplate {
  id: string
  title: string
  /** Whether its rules are of one user, who has to be named. */
  needsUsername: boolean
}

interface Line {
  pattern: string
  read: boolean
  write: boolean
}

const both = (pattern: string): Line => ({ pattern, read: true, write: true })
const read = (pattern: string): Line => ({ pattern, read: true, write: false })
const write = (pattern: string): Line => ({ pattern, read: false, write: true })

const TEMPLATES: readonly (RuleTemplate & { lines: readonly Line[] })[] = [
  {
    id: 'home-assistant',
    title: 'Home Assistant: one user may do everything',
    needsUsername: true,
    lines: [both('#')],
  },
  {
    id: 'device',
    title: 'Devices: each user has dev/<its name> to itself',
    needsUsername: false,
    lines: [both('dev/%u/#')],
  },
  {
    // The rules that OwnTracks' booklet recommends for friends.
    id: 'owntracks-family',
    title: 'OwnTracks family: all see where all are, each publishes its own place',
    needsUsername: false,
    lines: [both('owntracks/%u/#'), read('owntracks/+/+'), read('owntracks/+/+/event'), read('owntracks/+/+/info')],
  },
  {
    id: 'owntracks-recorder',
    title: 'OwnTracks Recorder: one user reads everything and sends commands',
    needsUsername: true,
    lines: [read('owntracks/#'), write('owntracks/+/+/cmd')],
  },
]

/** What {@link rulesOfTemplate} knows. */
export const RULE_TEMPLATES: readonly RuleTemplate[] = TEMPLATES.map(({ id, title, needsUsername }) => ({
  id,
  title,
  needsUsername,
}))

/**
 * The rules of a template, ready for `Tenancy.rules.create`.
 *
 * @returns `undefined` when there is no such template, or when it needs a username and none is given
 */
export function rulesOfTemplate(id: string, username?: string): NewRule[] | undefined {
  const template = TEMPLATES.find(entry => entry.id === id)
  if (template === undefined || (template.needsUsername && username === undefined)) return undefined
  return template.lines.map(line =>
    template.needsUsername && username !== undefined
      ? { type: 'topic', username, ...line }
      : { type: 'pattern', ...line },
  )
}
