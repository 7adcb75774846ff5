"""A tour of Rapport from Python: events in, a profile out, changes as they happen, errors with reasons.

Run it beside `make up`, with TOKEN set as printed there; the README says how.
"""

import os
import pathlib
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), os.environ.get("RAPPORT_STUBS", str(HERE / "stubs"))]

import grpc

from calling import Problem, connect, watch
from rapport.common.v1.types_pb2 import Identifier
from rapport.profile.v1 import event_pb2, profile_pb2, profile_pb2_grpc

DEADLINE = 10  # seconds; a call without a deadline waits for ever


def main() -> None:
    address = os.environ.get("RAPPORT_URL", "http://127.0.0.1:7400").removeprefix("http://")
    service = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]
    channel = connect(address, lambda: os.environ["TOKEN"], service)
    profile = profile_pb2_grpc.ProfileServiceStub(channel)

    # Something happened. The answer follows the commit; the message id makes a repeat harmless.
    ada = Identifier(namespace="email", value="Ada@Example.org")
    viewed = event_pb2.Event(message_id=str(uuid.uuid4()), type=event_pb2.EVENT_TYPE_TRACK,
                             name="Pricing Viewed", identifiers=[ada], source="python")
    viewed.properties.update({"plan": "gold", "seats": 3})
    [result] = profile.IngestEvents(profile_pb2.IngestEventsRequest(events=[viewed]), timeout=DEADLINE).results
    if result.status == profile_pb2.EVENT_STATUS_REJECTED:
        sys.exit("; ".join(f"{one.field}: {one.description}" for one in result.violations))

    # What do we know? A read that names the version has seen the event.
    request = profile_pb2.GetProfileRequest(customer_id=result.customer_id, at_least_version=result.profile_version)
    known = profile.GetProfile(request, timeout=DEADLINE).profile
    print(f"customer {known.customer_id}: {known.total_events} event(s), version {known.version}")

    # Changes as they happen. The first answer of a quiet watch is a heartbeat, after 15 s at most.
    changes = profile.WatchProfiles(profile_pb2.WatchProfilesRequest())
    place = next(changes).resume_token
    changes.cancel()
    for number in range(3):
        seen = event_pb2.Event(message_id=str(uuid.uuid4()), type=event_pb2.EVENT_TYPE_PAGE,
                               name=f"Page {number}", identifiers=[ada])
        profile.IngestEvents(profile_pb2.IngestEventsRequest(events=[seen]), timeout=DEADLINE)
    last = known.version + 3
    for change in watch(profile.WatchProfiles, profile_pb2.WatchProfilesRequest(resume_token=place), "change"):
        if change.profile.customer_id != result.customer_id:
            continue
        print(f"changed: version {change.profile.version}; resume after it with {change.resume_token[:8]}…")
        if change.profile.version >= last:
            break

    # An error says why, as a word for programs, and which fields.
    try:
        profile.GetProfile(profile_pb2.GetProfileRequest(customer_id="nobody"), timeout=DEADLINE)
    except grpc.RpcError as error:
        problem = Problem.of(error)
        print(f"{problem.code.name} {problem.reason}: {problem.violations}")


if __name__ == "__main__":
    main()
