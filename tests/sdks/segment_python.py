"""segment-analytics-python: the queue holds everything, for it drops what it cannot hold."""

from segment.analytics.client import Client

from delivery import BATCH, HOST, TOTAL, WRITE_KEY, Errors, deliver, report

errors = Errors()
client = Client(
    WRITE_KEY, host=HOST, on_error=errors, max_queue_size=TOTAL + BATCH, upload_size=BATCH, max_retries=20
)
refused = deliver(client)
client.shutdown()
report(refused, errors)
