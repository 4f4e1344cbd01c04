import type { AclQuestion } from '@midge/protocol-core'
import type { z } from 'zod'
import type { Rule } from '../../tenancy/model/rule.ts'
import { RULE_TEMPLATES, rulesOfTemplate } from '../../tenancy/rule-templates.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import {
  newRules,
  ruleAnswer,
  ruleBody,
  ruleList,
  ruleListQuery,
  ruleQuestion,
  shownRule,
  templateList,
  templateUse,
} from '../model/control-shapes.ts'
import { pageOf } from '../model/paging.ts'
import { RequestProblem } from '../problems.ts'
import { found, pageRequest, shownPage, withoutAbsent } from '../shown.ts'

const tag = 'Rules'

/** Rules of an instance, and what they come to. */
export function ruleRoutes(parts: ApiParts): ApiRoute[] {
  return [...ruleListRoutes(parts), ...oneRuleRoutes(parts), checkRoute(parts)]
}

function ruleListRoutes({ tenancy: { rules } }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/rules', access: 'instance:read', tag, summary: 'List rules' },
      query: ruleListQuery,
      answer: pageOf(shownRule),
      handle: ({ params, query }) =>
        shownPage(rules.list(params.instance, pageRequest(query), query.username), rule => rule),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/rules', access: 'instance:write', tag },
      summary: 'Create a rule, or several that come into force together',
      body: newRules,
      status: 201,
      answer: ruleList,
      async handle({ params, body, caller }) {
        const wanted = (Array.isArray(body) ? body : [body]).map(withoutAbsent)
        return { items: await rules.create(params.instance, wanted, caller.actor) }
      },
    }),
    route({
      ...{ method: 'GET', path: '/rule-templates', access: 'any', tag, summary: 'List templates of rules' },
      answer: templateList,
      handle: () => ({ items: [...RULE_TEMPLATES] }),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/rules/from-template', access: 'instance:write', tag },
      summary: 'Create the rules of a template',
      body: templateUse,
      status: 201,
      answer: ruleList,
      async handle({ params, body, caller }) {
        const wanted = rulesOfTemplate(body.template, body.username)
        if (wanted === undefined) throw unusable(body)
        return { items: await rules.create(params.instance, wanted, caller.actor) }
      },
    }),
  ]
}

function unusable({ template, username }: z.output<typeof templateUse>): RequestProblem {
  const known = RULE_TEMPLATES.map(({ id }) => id)
  if (username === undefined && known.includes(template)) {
    return new RequestProblem('fields_invalid', `username: the template ${template} is for one user`)
  }
  return new RequestProblem('fields_invalid', `template: is one of ${known.join(', ')}`)
}

function oneRuleRoutes({ tenancy: { rules } }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/rules/:rule', access: 'instance:read', tag },
      summary: 'Get a rule',
      answer: shownRule,
      handle: ({ params }) => found(rules.find(params.instance, params.rule), 'rule'),
    }),
    route({
      ...{ method: 'PUT', path: '/instances/:instance/rules/:rule', access: 'instance:write', tag },
      summary: 'Replace a rule',
      body: ruleBody,
      answer: shownRule,
      handle: ({ params, body, caller }) =>
        rules.change(params.instance, params.rule, withoutAbsent(body), caller.actor),
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/rules/:rule', access: 'instance:write', tag },
      summary: 'Delete a rule; what it allowed ends',
      handle: ({ params, caller }) => rules.remove(params.instance, [params.rule], caller.actor),
    }),
  ]
}

function checkRoute(parts: ApiParts): ApiRoute {
  const { rules, users, instances } = parts.tenancy
  return route({
    ...{ method: 'POST', path: '/instances/:instance/rules/check', access: 'instance:read', tag },
    summary: 'May this client do this, and which rule says so? Changes nothing',
    body: ruleQuestion,
    answer: ruleAnswer,
    handle({ params: { instance }, body }) {
      const { username, clientId } = body
      const user = username === undefined ? undefined : users.find(instance, username)
      if (user?.isEnabled === false) return { allowed: false, reason: 'the user is disabled and may not log in' }
      const { allowed, rule } = parts.explain(instance, { username, clientId }, questionOf(body))
      if (rule !== undefined) {
        // What decides is a record of the instance, which has more fields than the question needs.
        const shown = rules.find(instance, (rule as Rule).id)
        const reason = `the first rule that fits ${allowed ? 'allows' : 'denies'} it`
        return shown === undefined ? { allowed, reason } : { allowed, reason, rule: shown }
      }
      if (!allowed) return { allowed, reason: 'no rule fits' }
      const free = user === undefined && instances.find(instance)?.settings.unlistedUsers === 'everything'
      return {
        allowed,
        reason: free ? 'rules do not apply to users that are not kept here' : 'rules do not apply to this user',
      }
    },
  })
}

function questionOf({ access, topic, qos, retain }: z.output<typeof ruleQuestion>): AclQuestion {
  switch (access) {
    case 'publish':
      return { access, topic, qos, retain }
    case 'subscribe':
      return { access, topic, qos }
    case 'receive':
      return { access, topic }
  }
}
