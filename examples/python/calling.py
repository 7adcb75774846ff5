"""Calling Rapport with grpcio: a token on each call, safe retries, rich errors, watches that resume.

Copy it into your own project; it needs grpcio, grpcio-status and the generated stubs.
"""

import dataclasses
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a failed call says. docs/errors.md lists the reasons."""

    code: grpc.StatusCode
    message: str
    reason: str | None = None  # None: not the server's word, e.g. a refused connection
    violations: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # field, description
    retry_after: float | None = None  # seconds; None: a retry does not help
    resume_token: str | None = None  # where an ended watch goes on

    @staticmethod
    def of(error: grpc.RpcError) -> "Problem":
        status = rpc_status.from_call(error)
        if status is None:
            return Problem(error.code(), error.details() or "")
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        bad = error_details_pb2.BadRequest()
        found = {type(detail): packed.Unpack(detail)
                 for packed in status.details for detail in (info, retry, bad) if packed.Is(detail.DESCRIPTOR)}
        return Problem(
            code=error.code(),
            message=status.message,
            reason=info.reason if info.domain == "rapport.dev" else None,
            violations=[(violation.field, violation.description) for violation in bad.field_violations],
            retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if type(retry) in found else None,
            resume_token=info.metadata.get("resume_token"),
        )

    def heals(self) -> bool:
        """True if the same call may succeed a little later."""
        if self.code == grpc.StatusCode.UNAVAILABLE:
            return True
        return self.code == grpc.StatusCode.RESOURCE_EXHAUSTED and self.retry_after is not None


def connect(address: str, token: Callable[[], str], *services: Any) -> grpc.Channel:
    """A channel to `host:port` that sends the token and repeats what may be repeated.

    `services` are descriptors, e.g. `profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]`: a
    method is repeated if its contract says that this is harmless.
    """
    repeatable = [{"service": service.full_name, "method": method.name}
                  for service in services for method in service.methods
                  if method.GetOptions().idempotency_level]
    config = {
        "methodConfig": [{
            "name": repeatable,
            "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "2s",
                            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]},
        }] if repeatable else [],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    options = [("grpc.service_config", json.dumps(config)),
               ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 10_000)]
    channel = grpc.insecure_channel(address, options=options)
    return grpc.intercept_channel(channel, _Token(token))


def watch(method: Callable[..., Any], request: Any, change: str,
          interrupted: Callable[[Problem], None] = lambda problem: None) -> Iterator[Any]:
    """Answers of a Watch method that carry `change`; goes on after drains and lost connections.

    An expired resume token (OUT_OF_RANGE) and everything else that time does not heal is raised.
    Each answer has a `resume_token`: keep it to go on after a restart.
    """
    failures = 0
    while True:
        stream = method(request)
        try:
            for answer in stream:
                failures = 0
                request.resume_token = answer.resume_token
                if _has(answer, change):
                    yield answer
            problem = Problem(grpc.StatusCode.UNAVAILABLE, "the server ended the watch")
        except grpc.RpcError as error:
            problem = Problem.of(error)
            if not problem.heals():
                raise
            # A drain names the place, also to a watch that has heard nothing yet.
            request.resume_token = problem.resume_token or request.resume_token
        finally:
            stream.cancel()
        interrupted(problem)
        failures += 1
        time.sleep((problem.retry_after or 0) + random.random() * min(10, 0.1 * 2**failures))


def _has(answer: Any, name: str) -> bool:
    if name in answer.DESCRIPTOR.oneofs_by_name:
        return answer.WhichOneof(name) is not None
    return answer.HasField(name)


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
             grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Asked anew for each call: a token may have been renewed meanwhile."""

    def __init__(self, token: Callable[[], str]):
        self._token = token

    def _intercept(self, go_on, details, request):
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {self._token()}")]
        return go_on(_Details(details.method, details.timeout, metadata, details.credentials,
                              details.wait_for_ready, details.compression), request)

    intercept_unary_unary = _intercept
    intercept_unary_stream = _intercept
    intercept_stream_unary = _intercept
    intercept_stream_stream = _intercept


@dataclasses.dataclass
class _Details(grpc.ClientCallDetails):
    method: Any
    timeout: Any
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any
