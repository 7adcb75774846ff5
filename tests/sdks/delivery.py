"""What the drivers share: the arguments, the events, and the account of what was delivered."""

import json
import sys

BATCH = 100
PEOPLE = 50

if len(sys.argv) < 3:
    sys.exit("usage: python DRIVER HOST WRITE_KEY [EVENTS]")
HOST, WRITE_KEY = sys.argv[1:3]
TOTAL = int(sys.argv[3]) if len(sys.argv) > 3 else 1000


def deliver(client):
    """Hands every event to the client; how many it did not take, because its queue is full."""
    refused = 0
    for n in range(TOTAL):
        user_id, turn = f"person-{n % PEOPLE}", n // PEOPLE % 20
        if turn == 0:
            taken, _ = client.identify(user_id, {"plan": "gold", "n": n})
        elif turn == 1:
            taken, _ = client.page(user_id, name="Home", properties={"n": n})
        else:
            properties = {"n": n, "price": 12.5, "product": "walking boots", "colour": "dark brown"}
            taken, _ = client.track(user_id, "Product Viewed", properties)
        refused += not taken
    return refused


class Errors:
    """What the client gives up, by its `on_error`."""

    def __init__(self):
        self.lost = 0
        self.messages = []

    def __call__(self, error, batch):
        self.lost += len(batch)
        self.messages.append(f"{type(error).__name__}: {error}")


def report(refused, errors):
    """Says what was delivered; the program fails if that is not everything."""
    delivered = TOTAL - refused - errors.lost
    print(json.dumps({"delivered": delivered, "errors": len(errors.messages), "first": errors.messages[:5]}))
    sys.exit(0 if delivered == TOTAL and not errors.messages else 1)
