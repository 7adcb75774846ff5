"""Rapport as grpcio sees it: RAPPORT_URL, TOKEN (of a tenant of its own), READER and RAPPORT_STUBS say where.

`tests/tests/it/clients.rs` runs it; a failed check ends it with an error.
"""

import os
import pathlib
import socket
import struct
import sys
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "examples/python"), os.environ["RAPPORT_STUBS"]]

import grpc

from calling import Problem, connect, watch
from rapport.common.v1.types_pb2 import Identifier
from rapport.profile.v1 import event_pb2, profile_pb2, profile_pb2_grpc
from rapport.routing.v1 import routing_pb2, routing_pb2_grpc

ADDRESS = os.environ["RAPPORT_URL"].removeprefix("http://")
SERVICES = [profile_pb2.DESCRIPTOR.services_by_name["ProfileService"],
            routing_pb2.DESCRIPTOR.services_by_name["RoutingService"]]


def channel(address: str = ADDRESS, token: str = os.environ["TOKEN"]) -> grpc.Channel:
    return connect(address, lambda: token, *SERVICES)


def problem_of(call, *arguments, **named) -> Problem:
    try:
        answer = call(*arguments, **named)
    except grpc.RpcError as error:
        return Problem.of(error)
    raise AssertionError(f"expected an error, not {answer}")


def ingest(stub, user: str) -> profile_pb2.EventResult:
    event = event_pb2.Event(message_id=str(uuid.uuid4()), type=event_pb2.EVENT_TYPE_TRACK, name="Seen",
                            identifiers=[Identifier(namespace="user_id", value=user)])
    [result] = stub.IngestEvents(profile_pb2.IngestEventsRequest(events=[event]), timeout=20).results
    assert result.status == profile_pb2.EVENT_STATUS_ACCEPTED, result
    return result


def rich_errors_arrive() -> None:
    profile = profile_pb2_grpc.ProfileServiceStub(channel())
    wrong = problem_of(profile.IngestEvents, profile_pb2.IngestEventsRequest(), timeout=20)
    assert (wrong.code, wrong.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), wrong
    assert wrong.violations[0][0] == "events", wrong
    stranger = routing_pb2_grpc.RoutingServiceStub(channel(token=os.environ["READER"]))
    denied = problem_of(stranger.ListTeams, routing_pb2.ListTeamsRequest(), timeout=20)
    assert (denied.code, denied.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"), denied


def an_expired_deadline_is_called_so() -> None:
    profile = profile_pb2_grpc.ProfileServiceStub(channel())
    result = ingest(profile, "deadline")
    future = profile_pb2.GetProfileRequest(customer_id=result.customer_id, at_least_version=result.profile_version + 1000)
    started = time.monotonic()
    late = problem_of(profile.GetProfile, future, timeout=0.4)
    assert late.code == grpc.StatusCode.DEADLINE_EXCEEDED, late
    assert time.monotonic() - started < 5


def a_watch_resumes_through_connections_that_break() -> None:
    near = profile_pb2_grpc.ProfileServiceStub(channel())
    customer = ingest(near, "watched").customer_id
    place = first_place(near, customer)
    line = Line(ADDRESS)
    far = profile_pb2_grpc.ProfileServiceStub(channel(line.address))
    request = profile_pb2.WatchProfilesRequest(customer_ids=[customer], resume_token=place)
    interruptions: list[Problem] = []
    changes = watch(far.WatchProfiles, request, "change", interruptions.append)
    expected, seen = [], []
    for _ in range(4):
        expected.append(ingest(near, "watched").profile_version)
        seen.append(next(changes).profile.version)
        line.cut()
    changes.close()
    assert seen == expected, (seen, expected)
    assert len(interruptions) >= 3 and all(one.code == grpc.StatusCode.UNAVAILABLE for one in interruptions), interruptions


def first_place(stub, customer: str) -> str:
    """A resume token after everything so far: something happens until a new watch has seen it."""
    stream = stub.WatchProfiles(profile_pb2.WatchProfilesRequest(customer_ids=[customer]))
    seen: list[profile_pb2.WatchProfilesResponse] = []
    reader = threading.Thread(target=lambda: seen.append(next(stream)), daemon=True)
    reader.start()
    version = 0
    while reader.is_alive():
        version = ingest(stub, "watched").profile_version
        reader.join(0.05)
    place, reached = seen[0].resume_token, seen[0].profile.version
    stream.cancel()
    rest = watch(stub.WatchProfiles, profile_pb2.WatchProfilesRequest(customer_ids=[customer], resume_token=place), "change")
    while reached < version:
        change = next(rest)
        place, reached = change.resume_token, change.profile.version
    rest.close()
    return place


class Line:
    """A TCP connection that can be broken, as a network does."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._open.append(client)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self) -> None:
        for client in self._open:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.shutdown(socket.SHUT_RDWR)
        self._open.clear()


if __name__ == "__main__":
    for check in (rich_errors_arrive, an_expired_deadline_is_called_so, a_watch_resumes_through_connections_that_break):
        check()
        print(f"ok: {check.__name__}")
