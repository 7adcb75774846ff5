// A visitor of a site that uses Rapport's own snippet, in headless Chromium.
//
//   node snippet.mjs HOST WRITE_KEY
//
// The site belongs to another origin and lets scripts come from HOST only (Content-Security-Policy).
// The visitor comes from a newsletter, looks at two views, uses a link, a button and a form, loses an
// answer and then the connection, opens a second tab, and leaves. Prints what the pages complained of.
import { createServer } from 'node:http'

import { launch } from './chromium.mjs'

const [host, writeKey] = process.argv.slice(2)
if (!host || !writeKey) {
  console.error('usage: node snippet.mjs HOST WRITE_KEY')
  process.exit(2)
}

const PAGE = `<!doctype html><title>A shop</title>
<script src="/early.js"></script>
<script async src="${host}/rapport.js" data-write-key="${writeKey}"></script>
<a id="away" href="http://elsewhere.example/tents?secret=1">elsewhere</a>
<a id="file" href="/catalogue.pdf?for=me">catalogue</a>
<button id="call" data-rapport-event="Callback Requested" data-rapport-list="tents">call me</button>
<form id="contact" action="/contact"><input name="phone" value="13800138000"><button id="send">send</button></form>
<script src="/late.js"></script>`
// What a site does with its own scripts: calls that wait for the snippet, and a page that never reloads.
const FILES = {
  '/early.js': `window.rapport = window.rapport || []
    rapport.push(['identify', 'visitor-1', { email: 'visitor@example.org' }])`,
  '/late.js': `for (const id of ['contact', 'away', 'file']) {
      const kind = id === 'contact' ? 'submit' : 'click'
      document.getElementById(id).addEventListener(kind, (event) => event.preventDefault())
    }`,
}

const site = createServer((request, response) => {
  const file = FILES[request.url]
  response.setHeader('content-type', file ? 'text/javascript' : 'text/html')
  response.setHeader(
    'content-security-policy',
    `default-src 'none'; script-src 'self' ${host}; connect-src ${host}; form-action 'self'`
  )
  response.end(file ?? PAGE)
})
await new Promise((listening) => site.listen(0, '127.0.0.1', listening))
const address = `http://127.0.0.1:${site.address().port}`

const complaints = []
const browser = await launch()
const open = async (path, options) => {
  const page = await browser.context.newPage()
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    // The losses below are said by the browser itself.
    const expected = message.text().includes('net::ERR_')
    if (message.type() === 'error' && !expected) complaints.push(message.text())
  })
  await page.goto(address + path, options)
  await page.waitForFunction(() => window.rapport?.version)
  return page
}
/** Until everything that the browser holds is answered. */
const emptied = (page) =>
  page.waitForFunction(
    () => !Object.keys(localStorage).some((key) => key.startsWith('rapport.event.')),
    undefined,
    { timeout: 60000 }
  )

// The first answer is lost after the server has taken the batch.
let lost = 0
await browser.context.route('**/v1/batch', async (route) => {
  if (lost > 0) return route.continue()
  lost += 1
  await route.fetch()
  await route.abort('connectionreset')
})
const page = await open('/tents?utm_source=newsletter&utm_medium=email&utm_campaign=spring', {
  referer: 'https://www.baidu.com/',
})
for (const id of ['away', 'file', 'call', 'send']) await page.click(`#${id}`)
// Seen for a while: this is what is measured.
await page.waitForTimeout(700)
await page.evaluate(() => history.pushState({}, '', '/tents/green?step=2'))
await emptied(page)

// No connection; the events of that time come later.
await browser.context.setOffline(true)
await page.evaluate(() => window.rapport.track('Written Offline', { n: 1 }))
await page.waitForTimeout(1500)
await browser.context.setOffline(false)

// A second tab of the same visitor, from a search engine.
const second = await open('/', { referer: 'https://www.baidu.com/' })
await second.evaluate(() => window.rapport.track('Second Tab'))
await emptied(second)
const anonymous = (one) => one.evaluate(() => localStorage.getItem('rapport.anonymous'))
const [first, other] = [await anonymous(page), await anonymous(second)]
if (first !== other) complaints.push('two tabs are two visitors')

// What a page says while it closes arrives now, or with the next page.
await page.waitForTimeout(600)
await page.close({ runBeforeUnload: true })
const last = await open('/goodbye')
await emptied(last)
await browser.close()
site.close()
console.log(JSON.stringify({ lost, complaints, anonymous: first }))
process.exit(complaints.length === 0 && lost === 1 ? 0 : 1)
