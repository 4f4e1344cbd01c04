import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import type { ApiScope } from './model/api-key.ts'

/** Without the characters that people misread. */
const LETTERS = 'abcdefghjkmnpqrstuvwxyz'
const DIGITS = '23456789'
const PASSWORD_ALPHABET = `${LETTERS}${LETTERS.toUpperCase()}${DIGITS}`
const PASSWORD_LENGTH = 20
const USERNAME_LENGTH = 8
const ID_RANDOM_LENGTH = 4
/** Digits in base 36 that count the ids of one millisecond. */
const ID_COUNT_LENGTH = 3
/** Digits in base 36 of a time in milliseconds; enough until the year 5188. */
const ID_TIME_LENGTH = 9
/** In base64url 32 characters. */
const KEY_BYTES = 24
const OPERATOR_KEY_START = 'midge_operator_'

const ADJECTIVES = [
  'agile amber bold brave brisk calm clear clever cosy crisp dapper dusty eager early fair fleet fond fresh gentle glad',
  'golden grand green happy hazel humble ivory jolly keen kind light lively lucky lunar mellow merry mild misty neat nimble',
  'noble olive opal plucky polar proud quick quiet rapid rosy royal ruby sandy shy silent silver sleek smooth snug solar',
  'sunny swift tidy tiny vivid warm wild wise witty young',
].flatMap(line => line.split(' '))

const NOUNS = [
  'badger beaver bison bunting crane curlew deer dormouse dove eagle egret falcon ferret finch fox gecko goose grouse hare',
  'hawk heron ibex ibis jackdaw jay kestrel kite lark lemming linnet lizard lynx magpie marmot marten merlin mole moose newt',
  'nuthatch otter owl oriole petrel pigeon pika plover puffin quail rabbit raven robin rook seal shrew siskin skylark snipe',
  'sparrow starling stoat stork swan swift tern thrush toad vole wagtail weasel wren',
].flatMap(line => line.split(' '))

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? ''
}

function letters(alphabet: string, count: number): string {
  return Array.from({ length: count }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}

/** Short enough to be read out; whoever takes it sees to it that it is free. */
export function freshInstanceId(): string {
  return `${pick(ADJECTIVES)}-${pick(NOUNS)}-${letters(DIGITS, 2)}`
}

const lastId = { timeMs: 0, count: 0 }

/** Id of a record; those that one process makes are in the order in which it makes them. */
export function freshRecordId(nowMs: number): string {
  const isSameMs = nowMs <= lastId.timeMs
  lastId.count = isSameMs ? lastId.count + 1 : 0
  lastId.timeMs = isSameMs ? lastId.timeMs : nowMs
  const time = lastId.timeMs.toString(36).padStart(ID_TIME_LENGTH, '0')
  const count = lastId.count.toString(36).padStart(ID_COUNT_LENGTH, '0')
  return `${time}${count}${letters(`${LETTERS}${DIGITS}`, ID_RANDOM_LENGTH)}`
}

export function freshUsername(): string {
  return letters(LETTERS, USERNAME_LENGTH)
}

/** 114 bits that can be typed. */
export function freshPassword(): string {
  return letters(PASSWORD_ALPHABET, PASSWORD_LENGTH)
}

/**
 * A key of the HTTP API. The beginning of an operator's tells people, and scanners for leaked secrets, what it is; that of
 * an instance is a UUID, because CloudMQTT's were and a client library of it takes nothing else.
 */
export function freshApiKey(scope: ApiScope): string {
  return scope === 'operator' ? OPERATOR_KEY_START + randomBytes(KEY_BYTES).toString('base64url') : randomUUID()
}

/** What is kept of a key. */
export function apiKeyHash(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}
