export { openLocalStore } from './open.ts'
