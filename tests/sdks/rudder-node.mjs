// @rudderstack/rudder-sdk-node: gzipped JSON that calls itself a form.
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

import { BATCH, deliver, drained, failed, host, report, settled, writeKey } from './delivery.mjs'

const analytics = new RudderAnalytics(writeKey, {
  dataPlaneUrl: host,
  flushAt: BATCH,
  flushInterval: 1000,
  retryCount: 10,
  errorHandler: failed,
})

await deliver(({ type, message }) => analytics[type](message, settled))
await analytics.flush()
await drained()
report()
