// @segment/analytics-next in headless Chromium, from a page of another origin than the host.
//
//   node browser.mjs HOST WRITE_KEY [EVENTS] [WAVES AT A TIME] [--single]
//
// In batches unless `--single` says one request per event, which is its default. Nothing but the
// answers of the network says what it delivered: its promises are kept before that.
import { createServer } from 'node:http'
import { createReadStream } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { launch } from './chromium.mjs'
import { deliver, drained, failed, host, report, settled, writeKey } from './delivery.mjs'

// The library measures what it holds at each event: larger batches take it longer, not shorter.
const batch = 25

const single = process.argv.includes('--single')
const bundle = fileURLToPath(new URL('node_modules/@segment/analytics-next/dist/umd/', import.meta.url))

/** The site that the page belongs to: it has the library, and no events. */
async function site() {
  const server = createServer((request, response) => {
    if (request.url === '/') {
      response.setHeader('content-type', 'text/html')
      response.end('<!doctype html><title>A shop</title><script src="/index.js"></script>')
      return
    }
    const file = createReadStream(join(bundle, basename(new URL(request.url, 'http://site').pathname)))
    file.on('error', () => response.writeHead(404).end())
    response.setHeader('content-type', 'text/javascript')
    file.pipe(response)
  })
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  return server
}

const shop = await site()
const { context, close } = await launch()
const page = await context.newPage()
page.on('pageerror', failed)

// Events by their number, once a request that carries them is answered with 200.
const answered = new Set()
page.on('response', (response) => {
  const request = response.request()
  if (request.method() !== 'POST' || response.status() !== 200) return
  const body = request.postDataJSON()
  for (const { traits, properties } of body.batch ?? [body]) {
    const { n } = properties ?? traits
    if (answered.has(n)) continue
    answered.add(n)
    settled()
  }
})

await page.goto(`http://127.0.0.1:${shop.address().port}/`)
await page.evaluate(
  async ({ host, writeKey, single, size }) => {
    const batching = { strategy: 'batching', config: { size, timeout: 20, maxRetries: 20 } }
    const apiHost = `${new URL(host).host}/v1`
    const deliveryStrategy = single ? undefined : batching
    const [analytics] = await window.AnalyticsNext.AnalyticsBrowser.load(
      { writeKey, cdnURL: host },
      {
        // Storage is slow: a tenth of the time per event without.
        disableClientPersistence: !single,
        integrations: { 'Segment.io': { apiHost, protocol: 'http', deliveryStrategy } },
      }
    )
    window.undelivered = []
    analytics.on('error', (error) => window.undelivered.push(String(error?.reason ?? error)))
    window.send = (events) => {
      for (const { type, message } of events) {
        if (type === 'identify') analytics.identify(message.userId, message.traits)
        else if (type === 'page') analytics.page(message.name, message.properties)
        else analytics.track(message.event, message.properties)
      }
    }
  },
  { host, writeKey, single, size: batch }
)

const wave = []
const send = () => page.evaluate((events) => window.send(events), wave.splice(0)).catch(failed)
// A browser belongs to one person, who is known from the first event on.
const hand = (event) => {
  if (wave.push(event) === batch) send()
}
await deliver(hand, { people: 1, batch })
send()
await drained()
for (const error of await page.evaluate(() => window.undelivered)) failed(error)

await close()
shop.close()
report()
