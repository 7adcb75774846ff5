// Headless Chromium with a profile of its own, from the path.
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

import { chromium } from 'playwright-core'

/** The program; scripts/setup looks for the same names. */
function program() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    for (const folder of process.env.PATH.split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK)
        return join(folder, name)
      } catch {
        // not here
      }
    }
  }
  throw new Error('no chromium in the path: run scripts/setup')
}

/** A browser; `close` also removes what it kept. */
export async function launch() {
  const profile = mkdtempSync(join(tmpdir(), 'rapport-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program(),
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
    ],
  })
  const close = async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  }
  return { context, close }
}
