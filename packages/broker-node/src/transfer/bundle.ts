import type { Rule } from '../tenancy/model/rule.ts'

/** A user as another broker had it. */
export interface MovedUser {
  readonly username: string
  /** In a form that `proof.hash` of a user takes; absent for a user that only rules are known of. */
  readonly hash?: string | undefined
  readonly isEnabled?: boolean | undefined
}

/** A rule that has no id yet. */
export type MovedRule = Omit<Rule, 'id' | 'createdAtMs'>

/** What was read of another broker, in the words of this one. */
export interface Bundle {
  readonly users: readonly MovedUser[]
  readonly rules: readonly MovedRule[]
  readonly remarks: readonly Remark[]
}

/** Something a person has to know of a move: what was left out and why, or what means something else here. */
export interface Remark {
  readonly kind: 'left-out' | 'differs'
  /** File, with the line where it has lines; never holds a secret. */
  readonly at: string
  readonly text: string
}

/** Collects a {@link Bundle}. */
export class BundleDraft implements Bundle {
  readonly users: MovedUser[] = []
  readonly rules: MovedRule[] = []
  readonly remarks: Remark[] = []

  leftOut(at: string, text: string): void {
    this.remarks.push({ kind: 'left-out', at, text })
  }

  differs(at: string, text: string): void {
    this.remarks.push({ kind: 'differs', at, text })
  }
}
