"""Entries → targets: nearest wins, fan-out, placeholders, uniqueness, one partition.

Nearest wins field by field: key, then `accounts`, then `defaults`. Each of account/accounts and region/regions is one
setting: a nearer one of the two replaces both. Accounts outer, Regions inner, as listed: that is the manifest's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bulk_import.errors import Problem
from bulk_import.manifest import fields as check
from bulk_import.manifest.access import ACCESS, Account
from bulk_import.manifest.create import create, needs
from bulk_import.manifest.entries import Entries
from bulk_import.manifest.expiry import FIELDS as EXPIRY
from bulk_import.manifest.expiry import Expiries
from bulk_import.manifest.level import Level
from bulk_import.manifest.materials import FIELD as MATERIALS
from bulk_import.manifest.materials import expected
from bulk_import.manifest.materials import needs as needs_of_materials
from bulk_import.manifest.models import FIELDS_OF_ENTRIES
from bulk_import.manifest.policy import Policies, Unusable
from bulk_import.manifest.problems import Findings, Loc, fail
from bulk_import.manifest.ready_made import READY_MADE, merged, problems, where_material_is
from bulk_import.manifest.regions import partition_of
from bulk_import.manifest.replicas import in_region, mistakes
from bulk_import.model import Create, Expiry, KeySpec, Lane, Primary, Target, WrappingKeySpec

Check = Callable[[Target], Iterable[Problem | tuple[str, str, str]]]

MAX_TARGETS = 5_000_000  # a fan-out can ask for more than any machine holds
_REGIONS = frozenset(("region", "regions"))
_MATERIAL = ("material", MATERIALS, *READY_MADE)
_ONCE = frozenset(("id", "key_id", "region", "regions"))  # whose messages name the lane
_NOBODY = Level(None, 0, ())


class Expander:
    """Takes entries in the manifest's order; `targets` are those selected of them, `total` counts all."""

    def __init__(
        self,
        findings: Findings,
        defaults: Level = _NOBODY,
        accounts: Mapping[str, Level] | None = None,
        *,
        policies: Policies,
        checks: Sequence[Check] = (),
        selects: Callable[[str, Lane], bool] | None = None,
    ) -> None:
        self.targets: list[Target] = []
        self.total = 0
        self.partition = ""
        self.accounts: dict[str, Account] = {}
        self._findings = findings
        self._defaults = defaults
        self._stated = accounts or {}
        self._policies = policies
        self._checks = checks
        self._selects = selects
        self._first_region = ""  # that showed the partition
        self._expiries = Expiries(findings)
        self._entries = Entries(self._expiries)

    def add(self, entry: Level) -> None:
        """Makes the targets of one entry, or reports why not."""
        fields = entry.fields
        for name in ("id", "key_id"):
            if fields.get(name) is None and not self._broken(entry, name):
                self._say(entry, (name,), "is missing", "State it.")
                entry.broken |= {name}
        own_expiry = not fields.keys().isdisjoint(EXPIRY) or not entry.broken.isdisjoint(EXPIRY)
        own_regions = _regions((entry,))
        for account in self._accounts_of(entry):
            account.broken_in_rows |= ACCESS & entry.broken
            if not ACCESS.isdisjoint(fields):
                account.agree(entry, self._findings)
            settings = merged(account.base, fields) if account.base else fields
            regions = account.regions if own_regions is None else own_regions
            if not regions and not any(account.broken(n) or self._broken(entry, n) for n in _REGIONS):
                self._say(entry, ("region",), "is missing", "Specify region or regions, here or for the account.")
            self._check_ready_made(entry, account, settings, regions)
            if all(settings.get(name) is None and not account.broken(name) for name in _MATERIAL):
                if not any(self._broken(entry, name) for name in _MATERIAL):
                    self._say(entry, ("material",), "is missing", "Specify the URI of a source, here or in defaults.")
                entry.broken |= {"material"}
            expiry = self._expiries.resolve(entry, *account.levels) if own_expiry else account.expiry
            replicas = settings.get("replicas") or ()
            for place, message, advice in mistakes(regions, replicas, settings) if replicas else ():
                self._say(entry, place, message, advice)
                entry.broken |= {str(place[0])}
                replicas = ()
            for region in regions:
                self._target(entry, account, region, settings, expiry)
                for replica in replicas:
                    self._target(entry, account, replica, settings, expiry, primary=region)

    def _target(
        self, entry: Level, account: Account, region: str, settings: Mapping[str, Any], expiry: Expiry,
        *, primary: str | None = None,
    ) -> None:  # fmt: skip
        """`primary`: of a replica, the Region of its primary."""
        lane, ids = account.lanes.get(region) or self._lane(entry, account, region, replica=primary is not None)
        get = settings.get
        key, key_id, several = get("id"), get("key_id"), get(MATERIALS)
        if key is not None:
            self._claim(entry, lane, ids, key)
            if key_id is not None:
                where = lane if primary is None else account.lanes.get(primary, (lane,))[0]
                named, key_id = key_id, self._key_id(entry, key_id, where, key)
        if key is None or key_id is None or entry.broken:
            return
        material, ready = where_material_is(settings, lane, key)
        if material is None and several is None:
            return
        entries = self._entries.make(several, (entry, *account.levels), lane, key, get("encoding")) if several else ()
        if entries:
            material = entries[-1].material
        material_id = get("key_material_id")
        try:
            wanted = self._create(get("create"), lane, key, related=bool(get("replicas")))
        except Unusable as error:
            if error.message:
                self._say(entry, ("create", "policy"), error.message, error.advice)
            return
        replicas = () if primary is not None else tuple(get("replicas") or ())
        of_primary = None
        if primary is not None:
            of_primary, key_id = Primary(where, key_id), in_region(check.fill(named, lane, key), lane)
        target = Target(
            len(self.targets),
            key,
            lane,
            key_id,
            str(material),
            get("encoding"),
            get("key_spec"),
            material_id and material_id.lower(),
            expected(get("expect")),
            get("wrapping_algorithm"),
            get("wrapping_key_spec") or WrappingKeySpec.RSA_4096,
            expiry,
            entry.line,
            key_usage=get("key_usage"),
            create=wanted,
            materials=entries,
            replicas=replicas,
            primary=of_primary,
            ready_made=ready,
        )
        self._check(entry, target)
        if entries:
            for field, message, advice in needs_of_materials(target, settings):
                self._say(entry, (field,), message, advice)
        if self._selects is None or self._selects(key, lane):
            self.targets.append(target)

    def _create(self, stated: Mapping[str, Any] | None, lane: Lane, key: str, *, related: bool) -> Create | None:
        """Raises Unusable."""
        return None if stated is None else create(stated, lane, key, self._policies, related=related)

    def _claim(self, entry: Level, lane: Lane, ids: dict[str, int], key: str) -> None:
        """(id, account, Region) is unique."""
        if key in ids:
            message = f"{key} is already there for account {lane.account} in {lane.region}, on line {ids[key]}"
            self._say(entry, ("id",), message, "Use a different id for each target of an account and Region.")
        ids[key] = entry.line
        self.total += 1
        if self.total > MAX_TARGETS:
            message = f"makes more than {MAX_TARGETS:,} targets"
            raise fail(self._findings.file, entry.line, message, "Split the manifest.")

    def _key_id(self, entry: Level, text: str, lane: Lane, key: str) -> str | None:
        if "{" in text or "}" in text:
            text = check.fill(text, lane, key)
        elif not text.startswith("arn:"):
            return text  # its form was checked with its entry
        if said := check.key_id(text, lane):
            self._say(entry, ("key_id",), *said)
            return None
        return text

    def _check(self, entry: Level, target: Target) -> None:
        if target.key_material_id is not None and target.key_spec not in (None, KeySpec.SYMMETRIC_DEFAULT):
            message = f"is given with key_spec {target.key_spec}; KMS assigns IDs only to SYMMETRIC_DEFAULT material"
            self._say(entry, ("key_material_id",), message, "Leave it out; the proof of this key needs none.")
        self._report(entry, needs(target))
        for at, part in enumerate(target.parts):
            for one in self._checks:
                self._report(entry, one(part), at if target.materials else None)

    def _report(
        self, entry: Level, found: Iterable[Problem | tuple[str, str, str]], of_entry: int | None = None
    ) -> None:
        """`of_entry`: the fields of a material are those of this entry of `materials`."""
        for each in found:
            field, message, advice = (each.field, each.message, each.advice) if isinstance(each, Problem) else each
            loc: Loc = tuple(field.split(".")) if field else ()
            if of_entry is not None and loc and loc[0] in FIELDS_OF_ENTRIES:
                loc = (MATERIALS, of_entry, *loc)
            self._say(entry, loc, message, advice)

    def _check_ready_made(
        self, entry: Level, account: Account, settings: Mapping[str, Any], regions: Sequence[str]
    ) -> None:
        accounts = entry.fields.get("accounts") or (account.id,)
        for name, message, advice in problems(settings, len(accounts) * len(regions)):
            if not account.broken(name) and not self._broken(entry, name):
                self._say(entry, (name,), message, advice)

    # --- accounts, lanes, Regions ---

    def _accounts_of(self, entry: Level) -> Sequence[Account]:
        name = entry.fields.get("account")
        if name is not None:
            return (self.accounts.get(name) or self._account(name, entry, ("account",)),)
        names = entry.fields.get("accounts")
        if names is not None:
            known = self.accounts
            return [known.get(n) or self._account(n, entry, ("accounts", i)) for i, n in enumerate(names)]
        if not self._broken(entry, "account") and not self._broken(entry, "accounts"):
            self._say(entry, ("account",), "is missing", "Specify account or accounts.")
        return ()

    def _account(self, name: str, entry: Level, loc: Loc) -> Account:
        own = self._stated.get(name)
        levels = (self._defaults,) if own is None else (own, self._defaults)
        base: dict[str, Any] = {}
        for level in reversed(levels):
            base = merged(base, level.fields)
        account = Account(
            id=name,
            levels=levels,
            named_by=entry,
            named_at=loc,
            base={n: v for n, v in base.items() if n not in ACCESS and n not in _REGIONS and n not in EXPIRY},
            regions=_regions(levels) or (),
            expiry=self._expiries.resolve(*levels),
        )
        self.accounts[name] = account
        return account

    def _lane(
        self, entry: Level, account: Account, region: str, *, replica: bool = False
    ) -> tuple[Lane, dict[str, int]]:
        partition = partition_of(region) or ""
        if not self.partition:
            self.partition, self._first_region = partition, region
        lane = Lane(partition, account.id, region)
        known: tuple[Lane, dict[str, int]] = (lane, {})
        if partition == self.partition:
            account.lanes[region] = known
        else:
            message = f"{region} is of partition {partition}, but {self._first_region} of {self.partition}"
            loc = ("replicas",) if replica else ("regions",) if "regions" in entry.fields else ("region",)
            self._say(entry, loc, message, "Make a manifest for each partition.")
        return known

    # --- problems ---

    @staticmethod
    def _broken(entry: Level, name: str) -> bool:
        return name in entry.broken or "" in entry.broken

    def _say(self, entry: Level, loc: Loc, message: str, advice: str) -> None:
        """Reports one mistake of an entry once, however many targets the entry fans out to."""
        mistake = f"{loc} {message}" if loc and loc[0] not in _ONCE else str(loc)
        if mistake not in entry.said:
            entry.said |= {mistake}
            entry.report(self._findings, loc, message, advice)


def _regions(levels: Iterable[Level]) -> tuple[str, ...] | None:
    """Of the nearest level that states Regions; None where none does. A stated null is none: ()."""
    for level in levels:
        if not _REGIONS.isdisjoint(level.fields):
            one = level.fields.get("region")
            return (one,) if one is not None else tuple(level.fields.get("regions") or ())
        if not _REGIONS.isdisjoint(level.broken):
            return ()
    return None
