// analytics-node, the library before @segment/analytics-node. It knows no 'Retry-After'; its
// pauses double from 0.2 s on, so 10 of them outlast minutes.
import Analytics from 'analytics-node'

import { BATCH, deliver, drained, failed, host, report, settled, writeKey } from './delivery.mjs'

const options = { host, flushAt: BATCH, flushInterval: 1000, retryCount: 10, errorHandler: failed }
const analytics = new Analytics(writeKey, options)

await deliver(({ type, message }) => analytics[type](message, settled))
await analytics.flush()
await drained()
report()
