"""A quota-faithful KMS and STS for load: its own process, loopback, one core.

    python -m tests.bench.simulator --port 0 [--quota GetParametersForImport=0.1] [--latency 20,60] [--lag 1.5]

It prints its port, then serves until stopped. Every account and Region is behind the one endpoint: the account
is reported by the access key ID of a request's signature, the Region by its scope. `GET /stats` shows what arrived,
`POST /reset` forgets everything. HTTP/1.1 is spoken by hand, because a web framework would be slower than the
clients that are measured.

With latency, half of a request's share passes on its way in and half on its way back, so that jitter reaches the
token buckets as it does with AWS. The draw is lognormal with a fixed seed, and tuned to no client.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import cast

import orjson
import uvloop
from cryptography.hazmat.primitives import serialization

from tests.bench.buckets import QUOTA_OF, QUOTAS, Quotas
from tests.bench.simulated_kms import Kms, Refusal, WrappingKeys
from tests.bench.simulated_sts import account_of, answer_sts, form_of

JSON = "application/x-amz-json-1.1"
THROTTLED = Refusal(
    "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
)
STS_THROTTLED = Refusal("Throttling", "Rate exceeded")
_Z99 = 2.3263  # the normal distribution's 99th percentile


class Latency:
    """Seconds that a request spends on the network; lognormal by its median and 99th percentile."""

    def __init__(self, median: float, p99: float, seed: int = 3) -> None:
        self._mu, self._sigma = math.log(median), math.log(p99 / median) / _Z99
        self._random = random.Random(seed)  # noqa: S311 - delays, not secrets

    def draw(self) -> float:
        return self._random.lognormvariate(self._mu, self._sigma)


@dataclass(slots=True)
class Stats:
    """What arrived, by lane ("account/Region") and operation. Times are seconds of the simulator's clock."""

    calls: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    throttles: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    parameters: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    last_call: dict[str, float] = field(default_factory=dict)
    peak_connections: int = 0

    def note(self, lane: str, operation: str, now: float) -> None:
        self.calls[lane, operation] += 1
        self.last_call[lane] = now
        if operation == "GetParametersForImport":
            self.parameters[lane].append(now)

    def summary(self) -> dict[str, object]:
        return {
            "calls": _by_lane(self.calls),
            "throttles": _by_lane(self.throttles),
            "total_calls": sum(self.calls.values()),
            "total_throttles": sum(self.throttles.values()),
            "parameters_arrivals": self.parameters,
            "last_call": self.last_call,
            "cpu_seconds": time.process_time(),
            "peak_connections": self.peak_connections,
        }


def _by_lane(counts: dict[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    lanes: dict[str, dict[str, int]] = defaultdict(dict)
    for (lane, operation), count in counts.items():
        lanes[lane][operation] = count
    return lanes


@dataclass(slots=True)
class Simulator:
    """Turns a request into an answer. `clock` is monotonic; the quotas and the lag are judged by it."""

    kms: Kms = field(default_factory=Kms)
    quotas: Quotas = field(default_factory=Quotas)
    latency: Latency | None = None
    slow_sts: dict[str, float] = field(default_factory=dict)  # seconds that AssumeRole of an account takes
    clock: Callable[[], float] = time.monotonic
    stats: Stats = field(default_factory=Stats)
    connections: set[asyncio.Transport] = field(default_factory=set)  # the open ones
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _date: tuple[int, str] = (0, "")

    def respond(self, head: bytes, body: bytes) -> tuple[bytes, float]:
        """The whole HTTP response, and seconds that it takes besides the network."""
        line = head[: head.find(b"\r\n")]
        if line.startswith(b"GET /stats"):
            return self._http("200 OK", "application/json", orjson.dumps(self.stats.summary())), 0
        if line.startswith(b"POST /reset"):
            self._reset()
            return self._http("200 OK", "application/json", b"{}"), 0
        lower = head.lower()
        account, region = _signer(head, lower)
        if target := header(lower, head, b"x-amz-target"):
            return self._kms(target.decode().removeprefix("TrentService."), account, region, body), 0
        return self._sts(account, region, body)

    def _kms(self, operation: str, account: str, region: str, body: bytes) -> bytes:
        try:
            self._admit(operation, account, region, THROTTLED)
            answer = self.kms.answer(operation, account, region, orjson.loads(body))
        except Refusal as refusal:
            error: dict[str, object] = {"__type": refusal.code}
            if refusal.message:
                error["message"] = refusal.message
            return self._http("400 Bad Request", JSON, orjson.dumps(error))
        return self._http("200 OK", JSON, orjson.dumps(answer))

    def _sts(self, account: str, region: str, body: bytes) -> tuple[bytes, float]:
        form = form_of(body)
        action = form.get("Action", "")
        try:
            self._admit(action, account, region, STS_THROTTLED)
            xml = answer_sts(form, account, self._request_id())
        except Refusal as refusal:
            xml = (
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                f"<Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
                f"<RequestId>{self._request_id()}</RequestId></ErrorResponse>"
            )
            return self._http("400 Bad Request", "text/xml", xml.encode()), 0
        role = form.get("RoleArn", "::::").split(":")[4]
        return self._http("200 OK", "text/xml", xml.encode()), self.slow_sts.get(role, 0)

    def _admit(self, operation: str, account: str, region: str, refusal: Refusal) -> None:
        now, lane = self.clock(), f"{account}/{region}"
        self.stats.note(lane, operation, now)
        if QUOTA_OF.get(operation, operation) in QUOTAS and not self.quotas.admit(account, region, operation, now):
            self.stats.throttles[lane, operation] += 1
            raise refusal

    def _request_id(self) -> str:
        return f"5b1e0000-0000-4000-8000-{next(self._serial):012x}"

    def _http(self, status: str, content_type: str, body: bytes) -> bytes:
        second = int(time.time())
        if second != self._date[0]:
            self._date = second, formatdate(second, usegmt=True)
        head = (
            f"HTTP/1.1 {status}\r\nx-amzn-RequestId: {self._request_id()}\r\n"
            "Cache-Control: no-cache, no-store, must-revalidate, private\r\nExpires: 0\r\nPragma: no-cache\r\n"
            f"Date: {self._date[1]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            "Connection: keep-alive\r\n\r\n"
        )
        return head.encode() + body

    def _reset(self) -> None:
        self.stats = Stats(peak_connections=len(self.connections))
        self.kms.imported.clear()
        self.quotas.reset()


class Connection(asyncio.Protocol):
    """One keep-alive connection of a client that waits for each answer, as HTTP clients of AWS do."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being its subclass
        simulator = self._simulator
        simulator.connections.add(self._transport)
        simulator.stats.peak_connections = max(simulator.stats.peak_connections, len(simulator.connections))

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is not None:
            self._simulator.connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            total = end + 4 + int(header(head.lower(), head, b"content-length") or 0)
            if len(self._buffer) < total:
                return
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._arrive(head, body)

    def _arrive(self, head: bytes, body: bytes) -> None:
        latency = self._simulator.latency
        if latency is None or head.startswith((b"GET /stats", b"POST /reset")):
            self._answer(head, body, 0)
            return
        half = latency.draw() / 2
        asyncio.get_running_loop().call_later(half, self._answer, head, body, half)

    def _answer(self, head: bytes, body: bytes, way_back: float) -> None:
        response, extra = self._simulator.respond(head, body)
        if delay := way_back + extra:
            asyncio.get_running_loop().call_later(delay, self._write, response)
        else:
            self._write(response)

    def _write(self, response: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)


def header(lower: bytes, head: bytes, name: bytes) -> bytes:
    """The value of a header as it was sent, empty where there is none. `lower` is `head` in lower case."""
    start = lower.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _signer(head: bytes, lower: bytes) -> tuple[str, str]:
    """Account and Region that a request is signed for: Credential=ID/date/Region/service/aws4_request."""
    _, _, scope = header(lower, head, b"authorization").decode().partition("Credential=")
    parts = scope.split("/", 3)
    return (account_of(parts[0]), parts[2]) if len(parts) > 3 else ("", "")


async def start(simulator: Simulator, port: int = 0) -> asyncio.Server:
    """A listening server on 127.0.0.1; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(simulator), "127.0.0.1", port, backlog=8192)


def _pairs(values: list[str]) -> dict[str, float]:
    return {name: float(rate) for name, _, rate in (value.rpartition("=") for value in values)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A KMS and STS for load.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--quota", action="append", default=[], metavar="OPERATION=RATE")
    parser.add_argument("--no-quotas", action="store_true")
    parser.add_argument("--other", action="append", default=[], metavar="ACCOUNT/REGION/OPERATION=RATE")
    parser.add_argument("--slow-sts", action="append", default=[], metavar="ACCOUNT=SECONDS")
    parser.add_argument("--latency", metavar="MEDIAN,P99", help="milliseconds, of a lognormal distribution")
    parser.add_argument("--lag", type=float, default=0, help="seconds in which reads may be stale after an import")
    parser.add_argument("--unwrap", action="store_true", help="real wrapping keys; what is imported is unwrapped")
    parser.add_argument("--hmac-material", type=Path, help="file that every HMAC key is imported from")
    parser.add_argument("--ecc-material", type=Path, help="PKCS#8 DER file that every EC key is imported from")
    return parser.parse_args()


def _from(options: argparse.Namespace) -> Simulator:
    kms = Kms(wrapping=WrappingKeys(real=options.unwrap), lag=options.lag)
    if options.hmac_material:
        kms.hmac_material = options.hmac_material.read_bytes()
    if options.ecc_material:
        private = serialization.load_der_private_key(options.ecc_material.read_bytes(), None)
        kms.public_key = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    latency = None
    if options.latency:
        median, p99 = (float(part) / 1000 for part in options.latency.split(","))
        latency = Latency(median, p99)
    others = {}
    for scope, rate in _pairs(options.other).items():
        account, region, operation = scope.split("/")
        others[account, region, QUOTA_OF.get(operation, operation)] = rate
    quotas = Quotas(not options.no_quotas, _pairs(options.quota), others)
    return Simulator(kms, quotas, latency, _pairs(options.slow_sts))


async def _serve(options: argparse.Namespace) -> None:
    server = await start(_from(options), options.port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the port is what the caller reads
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(_options()))
