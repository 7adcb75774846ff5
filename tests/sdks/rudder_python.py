"""rudder-sdk-python: gzip by default, and traits in the context only."""

from rudderstack.analytics.client import Client

from delivery import BATCH, HOST, TOTAL, WRITE_KEY, Errors, deliver, report

errors = Errors()
client = Client(
    WRITE_KEY, host=HOST, on_error=errors, max_queue_size=TOTAL + BATCH, upload_size=BATCH, max_retries=20
)
refused = deliver(client)
client.shutdown()
report(refused, errors)
