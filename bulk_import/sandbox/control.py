"""The control API under /_sandbox/: what a test sets and sees. JSON both ways; 400 with `error` for a bad request.

GET  health                    pid, url's clock
GET  calls?operation=…&after=N the log; any field of an entry filters
GET  keys?account=…&region=…   keys with state, materials and the SHA-256 of each (never the bytes)
GET  sessions, faults, quotas
POST reset                     everything as at the start, without the seed
POST seed                      a seed document as JSON; answers the keys made. Material files: below the folder of the
                               seed file that the sandbox was started with; without one, none
POST faults                    a rule, or a list of rules (see faults.py)
POST faults/clear              all rules, or those of `ids`: calls that wait because of them continue
POST quotas                    {enforce, rates: {quota: per second}, account?, region?}
POST lag                       {seconds, share?, seed?, authorization?}
POST stale_reads               {account, region, key, pattern: "good,stale,…", operations?, at_once?}
POST clock                     {advance: seconds}: ages tokens, sessions, key material; {skew: seconds}: signatures
POST sessions/revoke, sessions/expire   {account?}
POST key                       {account, region, key, state}: puts a key in any state
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from moto.kms.models import kms_backends

from bulk_import.errors import InputError
from bulk_import.sandbox.answers import Answer, AwsError, json_answer
from bulk_import.sandbox.kms.backend import SandboxKmsBackend, backend
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.lag import READS
from bulk_import.sandbox.kms.quotas import DEFAULTS
from bulk_import.sandbox.seed import Seed, parse_seed, plant
from bulk_import.sandbox.world import World

JSON = "application/json"


class Control:
    """Answers requests under /_sandbox/."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder: Path | None = None  # of the seed file; None: there is none

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        parts = urlsplit(path)
        name = parts.path.removeprefix("/_sandbox/").strip("/").replace("/", "_")
        found = getattr(self, f"{method.lower()}_{name}", None)
        if found is None:
            return json_answer({"error": f"no {method} {parts.path}"}, 404, JSON)
        try:
            given = dict(parse_qsl(parts.query)) if method == "GET" else json.loads(body or b"{}")
            result = found(given)
        except InputError as error:
            return json_answer({"error": str(error)}, 400, JSON)
        except (ValueError, TypeError, KeyError, AttributeError, AwsError) as error:
            return json_answer({"error": f"{type(error).__name__}: {error}"}, 400, JSON)
        return json_answer(result if result is not None else {}, 200, JSON)

    def plant(self, seed: Seed) -> list[dict[str, str]]:
        with self.world.kms.lock:
            return plant(self.world, seed)

    # --- to see
    def get_health(self, _: dict[str, str]) -> dict[str, Any]:
        return {"pid": os.getpid(), "clock": self.world.clock.now(), "skew": self.world.skew}

    def get_calls(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        return self.world.log.find(wanted)

    def get_faults(self, _: dict[str, str]) -> list[dict[str, Any]]:
        return self.world.faults.listed()

    def get_quotas(self, _: dict[str, str]) -> dict[str, Any]:
        quotas = self.world.quotas
        lanes = [
            {"account": account, "region": region, "quota": quota, "rate": rate}
            for (account, region, quota), rate in quotas.lane_rates.items()
        ]
        rates = {name: quotas.rate("", "", name) for name in DEFAULTS}
        return {"enforce": quotas.enforce, "rates": rates, "lanes": lanes}

    def get_sessions(self, _: dict[str, str]) -> list[dict[str, Any]]:
        return [
            {"access_key": s.access_key, "expires": s.expires, "revoked": s.revoked} | asdict(s.principal)
            for s in list(self.world.identity.sessions.values())
        ]

    def get_keys(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        shown = [
            _shown(key)
            for _, _, store in list(kms_backends.iter_backends())
            if isinstance(store, SandboxKmsBackend)
            for key in store.live()
        ]
        return [entry for entry in shown if all(str(entry.get(name)) == value for name, value in wanted.items())]

    # --- to set
    def post_reset(self, _: Any) -> None:
        self.world.reset()

    def post_seed(self, given: Any) -> dict[str, Any]:
        return {"keys": self.plant(parse_seed(given, "POST /_sandbox/seed", self.folder))}

    def post_faults(self, given: Any) -> dict[str, Any]:
        rules = given if isinstance(given, list) else [given]
        return {"ids": [self.world.faults.add(**rule).id for rule in rules]}

    def post_faults_clear(self, given: Any) -> None:
        self.world.faults.clear(given.get("ids") if given else None)

    def post_quotas(self, given: dict[str, Any]) -> None:
        rates = {name: float(rate) for name, rate in given.get("rates", {}).items()}
        self.world.quotas.configure(
            rates, enforce=given.get("enforce"), account=given.get("account"), region=given.get("region")
        )

    def post_lag(self, given: dict[str, Any]) -> None:
        seconds, share = float(given.get("seconds", 0)), float(given.get("share", 0.5))
        self.world.lag.set(seconds, share, int(given.get("seed", 1)), float(given.get("authorization", 0)))

    def post_stale_reads(self, given: dict[str, Any]) -> None:
        pattern = given["pattern"].split(",")
        if not set(pattern) <= {"good", "stale"}:
            raise ValueError("a pattern is made of good and stale")
        stale = [word == "stale" for word in pattern]
        operations = frozenset(given.get("operations", READS))
        self.world.lag.stale_reads(self._key(given), stale, operations, at_once=given.get("at_once", False))

    def post_clock(self, given: dict[str, Any]) -> dict[str, Any]:
        self.world.age(float(given.get("advance", 0)))
        self.world.skew = float(given.get("skew", self.world.skew))
        return {"clock": self.world.clock.now(), "skew": self.world.skew}

    def post_sessions_revoke(self, given: dict[str, Any]) -> dict[str, int]:
        return {"sessions": self.world.identity.revoke(given.get("account"))}

    def post_sessions_expire(self, given: dict[str, Any]) -> dict[str, int]:
        return {"sessions": self.world.identity.expire(given.get("account"))}

    def post_key(self, given: dict[str, Any]) -> None:
        key = self._key(given)
        with self.world.kms.lock:
            key.become(given["state"])

    def _key(self, given: dict[str, Any]) -> SandboxKey:
        key = backend(given["account"], given["region"]).find(given["key"])
        if key is None:
            raise ValueError(f"no key {given['key']}")
        return key


def _shown(key: SandboxKey) -> dict[str, Any]:
    seen = key.now()
    materials = [
        {
            "id": material.id,
            "state": material.state,
            "sha256": None if material.secret is None else hashlib.sha256(material.secret).hexdigest(),
            "expiration_model": material.expiration_model,
            "valid_to": material.valid_to,
            "description": material.description,
        }
        for material in seen.materials
    ]
    return {
        "account": key.account_id,
        "region": key.region,
        "key_id": key.id,
        "arn": key.arn,
        "aliases": backend(key.account_id, key.region).aliases_of(key),
        "key_spec": key.key_spec,
        "key_usage": key.key_usage,
        "primary_region": key.primary.region if key.multi_region else None,
        "origin": key.origin,
        "state": seen.state,
        "description": key.description,
        "tags": key.tags.now,
        "policy": key.policy.now,
        "rotations": key.rotation_count,
        "changes": key.changes,
        "materials": materials,
    }
