// What the drivers share: the arguments, the events, and the account of what was delivered.

export const BATCH = 100

const [host, writeKey, events = '1000', concurrency = '2'] = process.argv.slice(2)
if (!host || !writeKey) {
  console.error('usage: node DRIVER HOST WRITE_KEY [EVENTS] [REQUESTS AT A TIME]')
  process.exit(2)
}
export { host, writeKey }
export const total = Number(events)

/** Event number n: each person has every kind, and each event carries its number. */
function event(n, people) {
  const userId = `person-${n % people}`
  const turn = Math.floor(n / people) % 20
  if (turn === 0) return { type: 'identify', message: { userId, traits: { plan: 'gold', n } } }
  if (turn === 1) return { type: 'page', message: { userId, name: 'Home', properties: { n } } }
  const properties = { n, price: 12.5, product: 'walking boots', colour: 'dark brown' }
  return { type: 'track', message: { userId, event: 'Product Viewed', properties } }
}

const errors = []
let delivered = 0
let waiting = 0
let wake = () => {}

/** Tells the account what became of an event: the callback of the libraries. */
export function settled(error) {
  waiting -= 1
  if (error) failed(error)
  else delivered += 1
  wake()
}

/** Whatever a library calls an error. */
export function failed(error) {
  errors.push(String(error?.reason ?? error?.message ?? error))
}

/**
 * Hands every event to `send`. So many may wait for their answer: a program that never pauses
 * would fill any queue.
 */
export async function deliver(send, { people = 50, batch = BATCH } = {}) {
  const room = batch * Number(concurrency)
  for (let n = 0; n < total; n += 1) {
    while (waiting >= room) await new Promise((resolve) => (wake = resolve))
    waiting += 1
    send(event(n, people))
    // Libraries work between events, as they do in a server.
    if (n % batch === 0) await new Promise(setImmediate)
  }
}

/** Waits for the last answers. */
export async function drained() {
  while (waiting > 0) await new Promise((resolve) => (wake = resolve))
}

/** Says what was delivered; the program fails if that is not everything. */
export function report() {
  console.log(JSON.stringify({ delivered, errors: errors.length, first: errors.slice(0, 5) }))
  process.exit(delivered === total && errors.length === 0 ? 0 : 1)
}
