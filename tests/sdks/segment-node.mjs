// @segment/analytics-node: https://segment.com/docs/connections/sources/catalog/libraries/server/node/
import { Analytics } from '@segment/analytics-node'

import { BATCH, deliver, drained, failed, host, report, settled, writeKey } from './delivery.mjs'

const analytics = new Analytics({ writeKey, host, flushAt: BATCH, flushInterval: 1000, maxRetries: 20 })
analytics.on('error', failed)

await deliver(({ type, message }) => analytics[type](message, settled))
await analytics.closeAndFlush({ timeout: 120_000 })
await drained()
report()
