"""A world for the model check: KMS, the network and the disk as a few facts, and every step of theirs a choice.

Option 0 of each choice is that all goes well. `Choices` replays a given beginning and then takes 0 throughout, so that
`explore` can go through every way in which at most so many steps go otherwise.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hmac import HMAC

from bulk_import.aws.pace.retry import Retry
from bulk_import.errors import ServiceError
from bulk_import.journal.writer import Journal
from bulk_import.model import ImportParameters, KeyRotation, KeyView, Lane
from bulk_import.model.run import Command
from bulk_import.ports import Trace
from bulk_import.run.lane import LaneRunner
from bulk_import.run.stop import Stop

LANE = Lane("aws", "111122223333", "us-east-1")
FOREVER = "KEY_MATERIAL_DOES_NOT_EXPIRE"
MATERIAL = bytes(range(32))  # of every source
READS_OF_A_RESUME = 2  # the --reads of the model check
TORN = b'{"seq":99,"at":"2026-11-2'
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Choices:
    """What happens at each step, and how many ways there were."""

    def __init__(self, beginning: tuple[int, ...] = ()) -> None:
        self.taken: list[int] = []
        self.ways: list[int] = []
        self.offered: list[tuple[str, tuple[str, ...]]] = []  # each step, and its options
        self.names: list[str] = []
        self._beginning = beginning

    def among(self, step: str, *options: str) -> str:
        position = len(self.taken)
        chosen = self._beginning[position] if position < len(self._beginning) else 0
        self.taken.append(chosen)
        self.ways.append(len(options))
        self.offered.append((step, options))
        if chosen:
            self.names.append(f"{step}: {options[chosen]}")
        return options[chosen]


class Story(Choices):
    """What does not succeed, by name and in order: (step, option). All else succeeds."""

    def __init__(self, *told: tuple[str, str]) -> None:
        super().__init__()
        self.untold = list(told)

    def among(self, step: str, *options: str) -> str:
        if self.untold and self.untold[0][0] == step and self.untold[0][1] in options:
            self.names.append(f"{step}: {self.untold[0][1]}")
            return self.untold.pop(0)[1]
        return options[0]


def explore(budget: int) -> Iterator[Choices]:
    """Every sequence of choices of which at most `budget` are not 0, each once. Run each to its end before the next."""
    beginnings: list[tuple[int, ...]] = [()]
    while beginnings:
        beginning = beginnings.pop()
        choices = Choices(beginning)
        yield choices
        assert tuple(choices.taken[: len(beginning)]) == beginning, "a step that did not come again: not deterministic"
        if sum(map(bool, beginning)) < budget:
            beginnings += [
                (*choices.taken[:position], other)
                for position in range(len(beginning), len(choices.taken))
                for other in range(1, choices.ways[position])
            ]


@cache
def wrapping_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def public_key() -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return wrapping_key().public_key().public_bytes(encoding, form)


def import_parameters() -> ImportParameters:
    return ImportParameters(b"token", public_key(), datetime.now(UTC) + timedelta(days=1))


@dataclass
class Key:
    """What KMS knows, and what the checks want to know of its past."""

    spec: str
    material: bytes = b""
    paints: int = 0  # coats of paint, by the invented kind of change: a second one is harm
    paints_sent: int = 0
    sent: int = 0  # requests to import
    imports: int = 0  # carried out
    accepted: bool = False  # an import was answered well, in this part of the run
    read_since: bool = False  # somebody has looked since the last import was sent
    answers: list[str] = field(default_factory=list)  # of DescribeKey in this part of the run: good, stale
    doubt: bool = False  # an import got no answer, and no one has looked since
    held: bool = False  # it held its material before the run
    state: str = "Enabled"  # while it holds material: Enabled or Disabled
    # It held its material until a moment ago: a stale read still shows that. Not after an import of unknown outcome:
    # then what was there before looks like what the import did.
    emptied: bool = False
    unsure: bool = False
    wrong: bool = False  # in this part of the run a response was for another key
    again: int = 0  # imports for a target that was well, after reads that showed otherwise

    @classmethod
    def of(cls, told: str) -> Key:
        """`HMAC_256`; `HMAC_256 held`: it has its material; `HMAC_256 emptied`: it had it until a moment ago."""
        spec, _, past = told.partition(" ")
        held = past == "held"
        return cls(spec, MATERIAL if held else b"", held=held, emptied=past == "emptied")

    def empty(self) -> None:
        """Somebody deletes the material."""
        self.material, self.emptied = b"", True

    def view(self, arn: str, *, stale: bool) -> KeyView:
        usage = "GENERATE_VERIFY_MAC" if self.spec.startswith("HMAC") else "ENCRYPT_DECRYPT"
        view = KeyView(arn, "PendingImport", "EXTERNAL", "CUSTOMER", self.spec, usage)
        if not (self.emptied if stale else self.material):
            return view
        current = "a" * 64 if self.spec == "SYMMETRIC_DEFAULT" else None
        return replace(view, state=self.state, expiration_model=FOREVER, current_key_material_id=current)


class World:
    """All that outlives a process: KMS's keys, by ARN, and the journal as it is on the disk.

    `signals`: whether they come, too. Where they do not, every other way is shorter.
    """

    command: Command = "run"
    lane_type: type[LaneRunner] = LaneRunner

    def __init__(self, choices: Choices, specs: tuple[str, ...], *, signals: bool = True) -> None:
        self.signals = signals
        self.choices = choices
        self.keys = {f"arn:aws:kms:us-east-1:111122223333:key/{n}": Key.of(spec) for n, spec in enumerate(specs)}
        self.durable = 0  # bytes of the journal that are fsynced: what a power cut leaves
        self.left: bytes | None = None  # what a killed process left of the journal
        self.killed = False  # ever: then an intent may be all that is known of a request
        self.stop = Stop()
        self.stale_for_good: set[str] = set()  # until the process ends
        self.well: set[str] = set()  # ARNs of targets that were well in a part that is over
        self.journal: ChosenJournal | None = None
        ChosenJournal.world = self

    def session(self) -> ModelSession:
        return ModelSession(self)

    def begin_part(self) -> None:
        self.left, self.stop = None, Stop()
        self.stale_for_good.clear()
        for key in self.keys.values():
            key.answers.clear()
            key.accepted = key.wrong = False

    def noted(self, event: str, fields: Mapping[str, Any]) -> None:
        """After a line of the journal was written."""

    def take_step(self, step: str) -> None:
        """Before a call: a signal may come."""
        if self.left is not None:
            raise Killed
        if self.stop.requested.is_set() or not self.signals:
            return
        happens = self.choices.among(step, "goes on", "a signal", "two signals")
        if happens != "goes on":
            self.stop.request("SIGTERM")
        if happens == "two signals":
            self.stop.urgent.set()

    def kill(self, how: str) -> None:
        """killed: all that was written is there, and half a line more. power cut: only what was fsynced."""
        assert self.journal is not None
        self.killed = True
        lines = b"".join(self.journal._lines)  # noqa: SLF001 - what SIGKILL leaves if it comes a moment later
        written = self.journal.path.read_bytes()
        self.left = written[: self.durable] if how == "power cut" else written + lines + TORN
        raise Killed


class Inline:
    """An executor that has no thread."""

    def submit(self, work: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        future.set_result(work())
        return future

    def shutdown(self, *, wait: bool) -> None:
        """Nothing runs."""


class ChosenJournal(Journal):
    """The journal itself; at each of its events the process may be killed."""

    world: World

    def __init__(self, *fields: Any) -> None:
        super().__init__(*fields)
        self._disk = Inline()  # type: ignore[assignment]  # virtual time knows nothing of threads
        self.world.journal = self

    @classmethod
    def fsync(cls, descriptor: int) -> None:
        """Stands for os.fsync: so much of the journal is on the disk for good."""
        journal = cls.world.journal
        if journal is not None and descriptor == journal._descriptor:  # noqa: SLF001 - which file it is
            cls.world.durable = os.fstat(descriptor).st_size

    def write(self, event: str, /, **fields: Any) -> None:
        if self.world.left is not None:
            return  # said by what is torn down after the kill
        happens = self.world.choices.among(f"journal {event}", "goes on", "killed", "power cut")
        if happens != "goes on":
            self.world.kill(happens)
        super().write(event, **fields)
        self.world.noted(event, fields)


class ModelKms:
    """KMS as a lane sees it (ports.KeyService)."""

    lane = LANE

    def __init__(self, world: World) -> None:
        self._world = world
        self.limiter = SimpleNamespace(calls={}, throttles={}, quotas_used=dict, effective_rates=dict)

    def _begin(self, operation: str, trace: Trace, arn: str) -> Key:
        self._world.take_step(operation)
        trace.sent(operation)
        return self._world.keys[arn]

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        world = self._world
        arn = key_id.replace("alias/", "arn:aws:kms:us-east-1:111122223333:key/")
        key = self._begin("DescribeKey", trace, arn)
        assert not key.accepted or durable(world, "answered")[arn], "an outcome that a power cut would take"
        options = ["good", "no answer", "wrong key"]
        if key.held and not key.imports and key.material and key.state == "Enabled":
            options += ["disabled by somebody", "emptied by somebody"]
        if key.imports or (key.emptied and not key.unsure):
            options += ["stale", "stale for good"]
        answer = "stale" if arn in world.stale_for_good else world.choices.among("DescribeKey", *options)
        if answer == "no answer":
            raise lost("DescribeKey")
        if answer == "wrong key":
            raise wrong_key(key, "DescribeKey")
        if answer == "stale for good":
            world.stale_for_good.add(arn)
        if answer == "disabled by somebody":
            key.state = "Disabled"
        if answer == "emptied by somebody":
            key.empty()
        stale = answer.startswith("stale")
        view = key.view(arn, stale=stale)
        key.answers.append("good" if view == key.view(arn, stale=False) else "stale")
        key.doubt, key.read_since = False, True
        trace.note("DescribeKey", "request-d")
        return view

    async def paint_key(self, key_id: str, trace: Trace) -> None:
        world = self._world
        world.take_step("PaintKey waits")
        await asyncio.sleep(0.01)
        key = self._begin("PaintKey", trace, key_id)
        key.paints_sent += 1
        key.read_since = False
        assert durable(world, "intent", "PaintKey")[key_id] >= key.paints_sent, "paint without a durable intent"
        answer = world.choices.among("PaintKey", *PAINT_ANSWERS)
        key.paints += "carried out" in answer
        await asyncio.sleep(0.01)
        if answer in ("carried out, killed", "carried out, power cut"):
            world.kill(answer.removeprefix("carried out, "))
        if answer != "carried out":
            raise PAINT_ANSWERS[answer]()
        trace.note("PaintKey", "request-p")

    async def is_painted(self, key_id: str, trace: Trace) -> bool:
        key = self._begin("LookAtPaint", trace, key_id)
        options = ["good", "stale", "no answer"] if key.paints else ["good", "no answer"]
        answer = self._world.choices.among("LookAtPaint", *options)
        if answer == "no answer":
            raise lost("LookAtPaint")
        return answer == "good" and key.paints > 0

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        key = self._begin("ListKeyRotations", trace, key_id)
        if self._world.choices.among("ListKeyRotations", "ok", "wrong key") == "wrong key":
            raise wrong_key(key, "ListKeyRotations")
        return []

    async def get_parameters_for_import(self, key_id: str, trace: Trace, **_: Any) -> ImportParameters:
        self._begin("GetParametersForImport", trace, key_id)
        answer = self._world.choices.among("GetParametersForImport", "ok", "no answer", "wrong key")
        if answer == "no answer":
            raise lost("GetParametersForImport")
        if answer == "wrong key":
            raise wrong_key(self._world.keys[key_id], "GetParametersForImport")
        return import_parameters()

    async def import_key_material(self, key_id: str, trace: Trace, *, sealed: bytes, **_: Any) -> str | None:
        world = self._world
        world.take_step("ImportKeyMaterial waits")
        await asyncio.sleep(0.01)  # for its permit: here an impatient signal finds nothing sent
        key = self._begin("ImportKeyMaterial", trace, key_id)
        key.sent += 1
        key.read_since = False
        assert durable(world, "intent")[key_id] >= key.sent, "an import whose intent a power cut would take"
        assert not key.doubt, "an import that is repeated without a look"
        if key_id in world.well:
            shown = "stale" if key.material else "good"  # that it is empty
            assert key.answers[-READS_OF_A_RESUME:] == [shown] * READS_OF_A_RESUME, "an import for one that was well"
            key.again += 1
        answer = world.choices.among("ImportKeyMaterial", *ANSWERS)
        if "carried out" in answer:
            material = wrapping_key().decrypt(sealed, OAEP)
            assert key.material in (b"", material), "other material than before"
            key.material, key.state = material, "Enabled"
            key.imports += 1
            world.take_step("ImportKeyMaterial carried out")
        await asyncio.sleep(0.01)  # and here something sent that has no answer yet
        if answer in ("carried out, killed", "carried out, power cut"):
            key.doubt = key.unsure = True
            world.kill(answer.removeprefix("carried out, "))
        if answer == "carried out":
            trace.note("ImportKeyMaterial", "request-i")
            key.accepted = True
            return "a" * 64 if key.spec == "SYMMETRIC_DEFAULT" else None
        raise ANSWERS[answer](key)

    async def generate_mac(self, key_id: str, trace: Trace, *, message: bytes, **_: Any) -> bytes:
        key = self._begin("GenerateMac", trace, key_id)
        answer = self._world.choices.among("GenerateMac", "ok", "no answer", "wrong key")
        if answer == "no answer":
            raise lost("GenerateMac")
        if answer == "wrong key":
            raise wrong_key(key, "GenerateMac")
        if not key.material:
            raise ServiceError("It is empty.", code="KMSInvalidStateException", operation="GenerateMac")
        if key.state == "Disabled":
            raise ServiceError("It is disabled.", code="DisabledException", operation="GenerateMac")
        context = HMAC(key.material, hashes.SHA256())
        context.update(message)
        return context.finalize()

    async def get_public_key(self, key_id: str, trace: Trace) -> bytes:
        raise NotImplementedError

    async def encrypt(self, key_id: str, trace: Trace, **_: Any) -> bytes:
        raise NotImplementedError

    async def decrypt(self, key_id: str, trace: Trace, **_: Any) -> bytes:
        raise NotImplementedError


def lost(operation: str) -> ServiceError:
    """A read that got no answer, and neither did those that the port sent after it."""
    return ServiceError(
        "No answer.", code="ConnectionFailed", operation=operation, retryable=True, outcome_unknown=True
    )


def unknown(key: Key, code: str = "ConnectionFailed", request_id: str = "") -> ServiceError:
    key.doubt = key.unsure = True
    return ServiceError(
        "Who knows.", code=code, operation="ImportKeyMaterial", retryable=True, outcome_unknown=True,
        request_id=request_id,
    )  # fmt: skip


def wrong_key(key: Key, operation: str) -> ServiceError:
    """What the port makes of a response for another key."""
    key.wrong = True
    changes = operation == "ImportKeyMaterial"
    key.doubt, key.unsure = key.doubt or changes, key.unsure or changes
    return ServiceError(
        "It was for another.", code="WrongKey", operation=operation, outcome_unknown=changes, request_id="request-w"
    )


def refused(code: str, *, retryable: bool = False) -> ServiceError:
    return ServiceError("No.", code=code, operation="ImportKeyMaterial", retryable=retryable, request_id="request-r")


ANSWERS: dict[str, Callable[[Key], ServiceError]] = {
    "carried out": unknown,  # and answered
    "carried out, no answer": unknown,
    "carried out, 500": lambda key: unknown(key, "KMSInternalException", "request-5"),
    "no answer": unknown,
    "500": lambda key: unknown(key, "KMSInternalException", "request-5"),
    "carried out, wrong key": lambda key: wrong_key(key, "ImportKeyMaterial"),
    "wrong key": lambda key: wrong_key(key, "ImportKeyMaterial"),
    "throttled": lambda _: refused("ThrottlingException", retryable=True),
    "token refused": lambda _: refused("InvalidImportTokenException"),
    "denied": lambda _: refused("AccessDeniedException"),
    "carried out, killed": unknown,
    "carried out, power cut": unknown,
}


PAINT_ANSWERS: dict[str, Callable[[], ServiceError]] = {
    "carried out": lambda: lost("PaintKey"),  # and answered
    "carried out, no answer": lambda: lost("PaintKey"),
    "no answer": lambda: lost("PaintKey"),
    "throttled": lambda: refused("ThrottlingException", retryable=True),
    "denied": lambda: refused("AccessDeniedException"),
    "carried out, killed": lambda: lost("PaintKey"),
    "carried out, power cut": lambda: lost("PaintKey"),
}


def durable(world: World, name: str, operation: str = "ImportKeyMaterial") -> Counter[str]:
    """Events of that name and operation, by ARN, that would survive a power cut now."""
    assert world.journal is not None
    arns: dict[int, str] = {}
    found: Counter[str] = Counter()
    for line in world.journal.path.read_bytes()[: world.durable].splitlines():
        event = orjson.loads(line)
        if event["event"] == "pinned":
            arns[event["index"]] = event["key_arn"]
        elif event["event"] == name and event["operation"] == operation:
            found[arns[event["index"]]] += 1
    return found


class ModelSession:
    """What a Job asks of an AwsSession."""

    environment = "sandbox"
    endpoints: dict[str, str] = {"kms": "http://127.0.0.1:1"}  # noqa: RUF012 - never changed
    caller = SimpleNamespace(account="999988887777", arn="arn:aws:iam::999988887777:user/pipeline")

    def __init__(self, world: World) -> None:
        self._world = world
        self.retry = Retry(20.0, 0.0)

    async def connect(self) -> None:
        self._world.take_step("GetCallerIdentity")

    async def lane(self, *_: Any) -> ModelKms:
        return ModelKms(self._world)

    def import_rate(self, _: Lane) -> float:
        return 1.0

    def session_policy(self, _: str) -> str | None:
        return None
