"""`make soak`: random faults, kills, signals and resumes over thousands of targets, from a seed.

    python -m tests.soak [--minutes 5] [--seed 1]

A campaign is a manifest of a few hundred targets over four lanes, at an empty sandbox that breaks calls at random. It
is run and cut short several times, by SIGKILL at a random event or moment, or by one or two signals, and gone on
with, mostly by --resume. Then the faults end, a last --resume goes undisturbed, and KMS's own view is compared with
every report. Exit code 1 where anything was lost, doubled, reported wrongly or wrongly green.

lost         targets that must be well at the end, and are not: in the report, or in KMS
doubled      keys that got their material more often than once and once for each import whose answer is unknown
untrue       entries that say of a key what is not so
wrong green  exit code 0, or a target reported as OK, where KMS does not hold the target's material
unexpected   exit codes that no fault here explains (1: a defect; 2, 3: a refusal; 6: no report)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bulk_import.report.fold import fold
from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import Result, Workplace
from tests.faults.forks import Forks, Kill
from tests.sandbox_client import Sandbox, clean_environment

TARGETS = 240  # of a campaign
LANES = [(account, region) for account in ("111122223333", "444455556666") for region in ("us-east-1", "eu-west-1")]
SPECS = (
    "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT", "HMAC_224", "HMAC_256", "HMAC_512", "ECC_NIST_P256", "ECC_SECG_P256K1",
    "ECC_NIST_EDWARDS25519",
)  # fmt: skip
CREATED = 0.05  # of the targets: their keys are missing
LIES = 0.01  # of the responses about a key, in a campaign with a lying proxy: they name another key
TAG = "bulk-import:alias"
A_KEY = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
OPTIONS = (
    "--quota", "GetParametersForImport=20", "--quota", "ImportKeyMaterial=200", "--read-interval", "10ms",
    "--consistency-timeout", "5s", "--retry-timeout", "20s", "--read-timeout", "1s", "--grace", "1s",
    "--verify-timeout", "20s", "--quiet",
)  # fmt: skip
EFFECTS: tuple[dict[str, Any], ...] = (
    {"effect": "http500"}, {"effect": "act_then_http500"}, {"effect": "drop"}, {"effect": "act_then_drop"},
    {"effect": "truncate"}, {"effect": "malformed"}, {"effect": "delay", "seconds": 0.3},
    {"effect": "act_then_delay", "seconds": 2}, {"effect": "hang", "seconds": 2},
    {"effect": "error", "code": "ThrottlingException", "message": "Rate exceeded"},
    {"effect": "revoke"}, {"effect": "expire"}, {"effect": "act_then_revoke"}, {"effect": "act_then_expire"},
    {"effect": "act_then_advance", "seconds": 25 * 3600},
)  # fmt: skip
OPERATIONS = (
    "DescribeKey", "DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "ImportKeyMaterial", "GenerateMac",
    "GetPublicKey", "ListKeyRotations", "CreateKey", "CreateAlias", "GetResources",
)  # fmt: skip
WELL = frozenset({"imported", "reimported", "unchanged"})
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEGITIMATE = frozenset({0, 4, 5, *(128 + number for number in STOPS), -signal.SIGKILL})


@dataclass
class Wanted:
    """What must become of a target. `well` None: of all targets with this key ID exactly one.

    `key_id`: of a key that the run creates, the alias.
    """

    key_id: str
    sha256: str
    well: bool | None

    @property
    def created(self) -> bool:
        return self.key_id.startswith("alias/")


@dataclass
class Campaign:
    """One manifest, from its first run to its last."""

    sandbox: Sandbox
    forks: Forks
    work: Workplace
    dice: random.Random
    counts: Counter[str]
    wanted: dict[str, Wanted] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)  # key ID → KMS's changes that no run has made
    emptied: Counter[str] = field(default_factory=Counter)  # key ARN → how often somebody deleted its material
    meddled: bool = False  # somebody changed keys since the last run
    lying: bool = False
    lanes: dict[str, list[str]] = field(default_factory=dict)  # key ID → those of its lane

    def run(self) -> None:
        self._plant()
        if self.dice.random() < 0.4:
            with Rewriter(self.sandbox.url, self._lie) as proxy:
                proxy.server.handle_error = nothing  # type: ignore[method-assign]  # connections break on purpose
                self.work.url = proxy.url
                self._live()
        else:
            self._live()

    def _live(self) -> None:
        lag = self.dice.random() < 0.4
        if lag:
            self.sandbox.post("lag", seconds=0.05, share=0.3, seed=self.dice.randrange(1000))
        well = False
        for number in range(self.dice.randint(3, 8)):
            # With reads that lag a run without the journal may well see a key that waits for its material.
            if well and lag:
                break
            self._spoil()
            resume = number > 0 and not well and (lag or self.dice.random() < 0.85)
            self.lying = True
            well = self._cut_short(["--resume"] if resume else []) == 0
            self.lying = False
            self._clear()
            if not well:
                self._meddle()
        self.sandbox.post("lag", seconds=0)
        self._judge_the_end(self._go(["--resume"]))

    # --- what is there
    def _plant(self) -> None:
        clean = self.dice.random() < 0.5  # nothing in it that can never be well
        for number in range(TARGETS):
            account, region = self.dice.choice(LANES)
            spec = self.dice.choice(SPECS)
            material = materials.make(spec)
            kind = self.dice.random() * (0.1 if clean and self.dice.random() < 0.2 else 1)
            kind = 1.0 if clean and 0.1 <= kind < 0.14 else kind
            name = f"t{number}"
            if self.dice.random() < CREATED:
                alias = f"alias/{name}"
                fields = {"account": account, "region": region, "key_spec": spec, "key_usage": materials.usage(spec)}
                self.work.key(alias, material, name=name, create={}, **fields)
                self.wanted[name] = Wanted(alias, hashlib.sha256(material).hexdigest(), well=True)
                continue
            fields = {"key_spec": spec}
            if kind < 0.1:  # holds it already
                fields["material"] = {"hex": material.hex()}
            elif kind < 0.12 and spec != "SYMMETRIC_DEFAULT":  # holds another
                fields["material"] = {"hex": materials.make(spec).hex()}
            other = kind >= 0.1 and "material" in fields
            key = self.sandbox.key(account, region, **fields)
            names = [name, f"{name}-again"] if 0.12 <= kind < 0.14 else [name]
            for each in names:
                self.work.key(key["key_id"], material, name=each, account=account, region=region)
                well = None if len(names) > 1 else not other
                self.wanted[each] = Wanted(key["key_id"], hashlib.sha256(material).hexdigest(), well)
        keys = self.sandbox.keys()
        self.changes = {key["key_id"]: key["changes"] for key in keys}
        for place in LANES:
            there = [key["key_id"] for key in keys if (key["account"], key["region"]) == place]
            self.lanes |= dict.fromkeys(there, there)
        self.work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
        self.work.write()
        self.counts["targets"] += len(self.wanted)

    def _spoil(self) -> None:
        rules = []
        for _ in range(self.dice.randint(5, 40)):
            effect = self.dice.choice(EFFECTS)
            operation = self.dice.choice(OPERATIONS)
            rules.append(
                effect
                | {"operation": operation, "after": self.dice.randrange(TARGETS), "times": self.dice.randint(1, 3)}
            )
        self.sandbox.post("faults", rules)

    def _clear(self) -> None:
        self.counts["faults"] += sum(rule["fired"] for rule in self.sandbox.faults())
        self.sandbox.post("faults/clear")

    def _lie(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        """A response for another key. Called by the proxy's threads."""
        text = orjson.dumps(answer).decode()
        named = [key_id for key_id in set(A_KEY.findall(text)) if key_id in self.lanes]
        if not self.lying or not named or random.random() >= LIES:  # noqa: S311 - no secret
            return answer
        self.counts["responses for another key"] += 1
        other = random.choice(self.lanes[named[0]])  # noqa: S311 - no secret
        return dict(orjson.loads(text.replace(named[0], other)))

    def _meddle(self) -> None:
        """Somebody else changes a few keys that hold their material."""
        keys = self.sandbox.keys()
        held = {key["key_id"]: key for key in keys}
        self.sandbox.forget_sessions()  # a fault may have revoked them
        for name, wanted in self.dice.sample(sorted(self.wanted.items()), 4):
            key = held.get(wanted.key_id)
            if key is None or wanted.well is not True or key["state"] != "Enabled":
                continue
            kms = self.sandbox.client("kms", key["account"], key["region"])
            if self.dice.random() < 0.75:
                kms.delete_imported_key_material(KeyId=key["key_id"])
                self.emptied[key["arn"]] += 1
            else:
                kms.schedule_key_deletion(KeyId=key["key_id"], PendingWindowInDays=7)
                self.wanted[name].well = False
            self.changes[key["key_id"]] += 1
            self.meddled = True
            self.counts["keys that somebody changed"] += 1

    # --- runs
    def _go(
        self, options: list[str], *, kill: Kill | None = None, meanwhile: Callable[[int], None] = lambda _: None
    ) -> Result:
        self.counts["runs"] += 1
        self.counts["resumes"] += "--resume" in options
        arguments = ["run", "manifest.json", *OPTIONS, *options]
        result = self.forks.run(self.work.folder, self.work.environment(), arguments, kill=kill, meanwhile=meanwhile)
        if result.code == 3 and ("holds no run" in result.stderr or "no journal to resume" in result.stderr):
            # Killed before its first line. The next one is a first run.
            return self._go([option for option in options if option != "--resume"], kill=kill, meanwhile=meanwhile)
        if result.code == 3 and "nothing to resume" in result.stderr and self.meddled:
            return self._go([option for option in options if option != "--resume"], kill=kill, meanwhile=meanwhile)
        if result.code == 3 and "nothing to resume" in result.stderr:
            # It came to a good end: what its report says counts. This refusal has set the report aside.
            self.counts["resumes that had nothing to do"] += 1
            run_id = fold(self.work.folder / "report.journal.jsonl").started["run_id"]
            kept = self.work.folder / f"report.{run_id}.json"
            if kept.exists():
                kept.rename(self.work.folder / "report.json")
            return Result(result.report["run"]["exit_code"], b"", "", self.work.folder)
        self.meddled = False
        self.counts[f"exit code {result.code}"] += 1
        if result.code not in LEGITIMATE:
            self.counts["unexpected"] += 1
            say(f"unexpected exit code {result.code}: {result.stderr[-2000:]}")
        return result

    def _cut_short(self, options: list[str]) -> int:
        """Returns the exit code."""
        how = self.dice.choice(("event", "event", "moment", "signal", "two signals", "not at all"))
        kill, meanwhile = None, nothing
        if how == "event":
            kill = Kill(self._some_event(resume="--resume" in options), self.dice.choice(("before", "torn", "after")))
        elif how != "not at all":
            first = signal.SIGKILL if how == "moment" else self.dice.choice(STOPS)
            signals = [first, self.dice.choice(STOPS)][: 2 if how == "two signals" else 1]
            delays = [self.dice.uniform(0.1, 3), self.dice.uniform(0, 0.3)]

            def meanwhile(pid: int) -> None:
                for number, delay in zip(signals, delays, strict=False):
                    send_after(pid, number, delay)

        result = self._go(options, kill=kill, meanwhile=meanwhile)
        self.counts["kills"] += result.code == -signal.SIGKILL
        self.counts["stopped by signals"] += result.code > 128
        journal = self.work.folder / "report.journal.jsonl"
        if result.code >= 0:
            unwritten = ("before anything was changed", "before the report was written", "No key was changed")
            if not any(text in result.stderr for text in unwritten):
                self._judge(result)
        elif journal.exists() and journal.read_bytes().count(b"\n"):
            fold(journal)  # what a killed run leaves can always be read
        return result.code

    def _some_event(self, *, resume: bool) -> int:
        """One that the run will most likely come to."""
        journal = self.work.folder / "report.journal.jsonl"
        if not resume or not journal.exists():
            return self.dice.randrange(1, 4 * TARGETS)
        lines = journal.read_bytes().splitlines()
        ended = sum(b'"event":"ended"' in line for line in lines)
        return len(lines) + self.dice.randrange(1, max(6, 3 * (len(self.wanted) - ended)))

    # --- the truth
    def _judge(self, result: Result) -> None:
        """One report against KMS."""
        keys = self.sandbox.keys()
        held = {key["key_id"]: key for key in keys}
        held |= {alias: key for key in keys for alias in key["aliases"]}
        own = self._imports_of(result.report["run"]["run_id"])
        told = {entry["key_arn"] for entry in result.entries.values() if entry["changed"] is not False}
        if set(result.entries) != set(self.wanted):
            self._complain("lost", "the report has other targets than the manifest")
        for name, entry in result.entries.items():
            wanted = self.wanted[name]
            key = held.get(wanted.key_id, {"state": "", "materials": [], "changes": 0})
            holds = key["state"] == "Enabled" and [m["sha256"] for m in key["materials"]] == [wanted.sha256]
            if entry["status"] in WELL and not (holds and entry["verification"]["verified"]):
                self._complain("wrong green", f"{name}, exit code {result.code}: {entry}; KMS: {key}")
            elif entry["status"] not in WELL and entry["error"] is None:
                self._complain("untrue", f"{name}: {entry}")
            # Of two targets with one key, the second has changed nothing. An earlier run, whose journal was set aside,
            # reports its own imports.
            if entry["changed"] is False and (sent := own.get(key.get("arn"))) and key["arn"] not in told:
                self._complain(
                    "untrue", f"{name}: an import took effect: {entry}; served: {sent}; {self._story(entry)}"
                )
            if wanted.created:
                continue
            imported = key["changes"] > self.changes[wanted.key_id]
            if entry["changed"] is True and not imported:
                self._complain("untrue", f"{name}: no import took effect: {entry}")
            if entry["changed"] is False and entry["attempts"] and imported:
                self.counts["refused, as an earlier run had imported"] += 1
        all_well = all(entry["status"] in WELL for entry in result.entries.values())
        if (result.code == 0) != all_well:
            self._complain("wrong green", f"exit code {result.code}, all well: {all_well}")

    def _imports_of(self, run_id: str) -> dict[str | None, list[str]]:
        """By key ARN: the request IDs of the run's imports that the server carried out, as its own log has them.

        The name of the run's sessions has the run ID, and a resume keeps it.
        """
        imports: dict[str | None, list[str]] = {}
        for call in self.sandbox.calls(operation="ImportKeyMaterial", served=True):
            if call["principal"].endswith(f"/bulk-import-{run_id}"):
                imports.setdefault(call["key"], []).append(call["request_id"])
        return imports

    def _story(self, entry: dict[str, Any] | None) -> str:
        """What the journals say of a target, for a person who looks into a complaint."""
        lines = []
        for journal in sorted(self.work.folder.glob("report.journal*.jsonl")):
            lines.append(journal.name)
            for line in journal.read_bytes().splitlines():
                with suppress(orjson.JSONDecodeError):
                    event = orjson.loads(line)
                    if entry is None or event.get("index", entry["index"]) == entry["index"]:
                        lines.append(line.decode()[:400])
        return "\n".join(["its journals:", *lines])

    def _judge_the_end(self, result: Result) -> None:
        self._judge(result)
        codes = [(entry["key_arn"], (entry["error"] or {}).get("code")) for entry in result.entries.values()]
        if any(code == "VerificationTimeout" and self.emptied[arn] for arn, code in codes):
            # KMS had accepted the import, and somebody deleted the material before the resume could verify it. The
            # advice of the error is to run again.
            self.counts["accepted imports that somebody deleted"] += 1
            result = self._go(["--resume"])
            self._judge(result)
        if any(code == "OutcomeUnknown" for _, code in codes):
            # A resume never repeats CreateKey. A new run, minutes later, reads and searches, and may.
            result = self._go([])
            self._judge(result)
        entries = result.entries
        well = Counter(self.wanted[name].key_id for name, entry in entries.items() if entry["status"] in WELL)
        for name, wanted in self.wanted.items():
            if wanted.well is not False and well[wanted.key_id] != 1:
                self._complain("lost", f"{name}: {entries.get(name)}; {self._story(entries.get(name))}")
            if wanted.well is False and well[wanted.key_id]:
                self._complain("wrong green", f"{name}: {entries[name]}")
        allowed = self._allowed()
        keys = self.sandbox.keys()
        made = Counter(key["tags"].get(TAG) for key in keys)
        for name, wanted in self.wanted.items():
            if wanted.created and made[wanted.key_id] != 1:
                self._complain("doubled" if made[wanted.key_id] else "lost", f"{name}: {made[wanted.key_id]} keys")
        for key in keys:
            if key["key_id"] not in self.changes:
                continue
            done = key["changes"] - self.changes[key["key_id"]]
            if done > allowed[key["arn"]]:
                self._complain("doubled", f"{key['arn']}: {done} imports, {allowed[key['arn']]} allowed")
            self.counts["imports"] += done
            self.counts["imports repeated because the answer was lost"] += max(0, done - 1)

    def _allowed(self) -> Counter[str]:
        """By key ARN: one, and one for each import whose answer no journal has, and for each deletion."""
        allowed = Counter(self.emptied)
        for journal in self.work.folder.glob("report.journal*.jsonl"):
            arns: dict[int, str] = {}
            asked: Counter[int] = Counter()
            told: Counter[int] = Counter()
            accepted: set[str] = set()
            for line in journal.read_bytes().splitlines():
                with suppress(orjson.JSONDecodeError):
                    event = orjson.loads(line)
                    if event["event"] == "pinned":
                        arns[event["index"]] = event["key_arn"]
                    elif event.get("operation") != "ImportKeyMaterial":
                        continue
                    elif event["event"] == "intent":
                        asked[event["index"]] += 1
                    elif event["event"] == "answered" and event["outcome"] != "unknown":
                        told[event["index"]] += 1
                        if event["outcome"] == "ok":
                            accepted.add(arns[event["index"]])
            for index, number in asked.items():
                allowed[arns[index]] += number - told[index]
            for arn in accepted:
                allowed[arn] += 1
        return allowed

    def _complain(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= 10:
            say(f"{kind}: {what}")


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def nothing(*_: object) -> None:
    """The run is left alone."""


def send_after(pid: int, number: signal.Signals, delay: float) -> None:
    """Sooner not at all, where the process has ended by then."""
    end = time.monotonic() + delay
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> int:
    parser = argparse.ArgumentParser(description="Random faults, kills, signals and resumes, from a seed.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    clean_environment()
    counts: Counter[str] = Counter()
    started = time.monotonic()
    with Sandbox() as sandbox, Forks() as forks:
        for number in range(1_000_000):
            if time.monotonic() - started >= min(given.minutes, 30) * 60:
                break
            sandbox.reset()
            with tempfile.TemporaryDirectory(prefix="soak-") as folder:
                work = Workplace(Path(folder), sandbox.url)
                Campaign(sandbox, forks, work, random.Random(f"{given.seed}/{number}"), counts).run()  # noqa: S311 - repeatable, no secret
            counts["campaigns"] += 1
            say(f"{time.monotonic() - started:5.0f} s  campaign {number}: {dict(sorted(counts.items()))}")
    bad = ("lost", "doubled", "untrue", "wrong green", "unexpected")
    for name in sorted(counts.keys() | set(bad)):
        sys.stdout.write(f"{counts[name]:8,}  {name}\n")
    return int(any(counts[name] for name in bad))


if __name__ == "__main__":
    sys.exit(main())
