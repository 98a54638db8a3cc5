"""The grammar of the journal: which events there are, and what each must say.

A line of the journal is `{"seq":n,"at":instant,"event":name,…fields…,"crc":"…"}`: `seq` counts from 1 without a
gap, `at` is RFC 3339 in UTC, `crc` is the CRC-32 (RFC 1952), in hex, of the line up to it. `index` is a target's
position among the selected targets, in manifest order.

event        written                                 fields (further ones are kept, and mean nothing to the fold)
-----------  --------------------------------------  ------------------------------------------------------------
run_started  first of all                            run_id, started_at, tool {name, version}, manifest {uri, sha256,
                                                     targets}, selection {accounts, regions, ids}, partition, labels,
                                                     shard, settings (those that matter to a resume), report (asked
                                                     path) [selected: targets before sharding,
                                                     command: run | submit | delete; absent: run;
                                                     plan {sha256, created_at}; absent or null: without --plan]
target       up front, each selected target in       index, id, account, region, key_id, valid_to (frozen; null:
             order; sync before the first call       never) [position: in the report; absent: index]
caller       after GetCallerIdentity                 caller {account, arn}, environment, endpoints {service: URL}
lane         when a lane's quotas are known          account, region, quota {operation: per second}
pinned       after a target's first DescribeKey      index, key_arn, key_state, key_spec [expiration_model, valid_to,
                                                     key_material_id]
intent       before a call that changes a key;       index, operation, attempt (of that operation, from 1,
             sync before the call                    resumes included) [wrapping_algorithm, wrapping_key_spec,
                                                     valid_to; of several materials: material (its name),
                                                     import_type]
answered     after that call                         index, operation, outcome (ok | refused | unknown), request_id
                                                     (empty: no answer) [key_material_id; of several materials:
                                                     material]
ended        at a target's end                       index, result (an Outcome: the target's entry of the report)
lane_ended   at a lane's end                         account, region, duration_seconds, calls {operation: n},
                                                     throttled {operation: n}, quota {operation: per second}
                                                     [effective_rate {operation: per second};
                                                     session_policy: keys | operations | off | null]
wrapping_key before a wrapping key is made at a      mount, name, address, namespace, action (made | removed)
             source that seals by itself (Transit),
             with a sync; after its removal
stopping     when no new target starts any more      reason (SIGINT | SIGTERM | SIGHUP | deadline | max_failures
                                                     | checkpoint: another run took it over)
run_ended    last of all                             finished_at [failure {code, message, advice, exit_code}: the error
                                                     that ended the whole run, not one target]
confirmed    when a resume has read a target that    index
             ended OK before, and found it so
resumed      first of a resumed run, which then      from_seq (the last event before)
             writes on as if it were one run

How the fold reads them
- A target's last `ended` counts. An `intent` voids an `ended` before it: what that said is no longer known.
- Without an `ended`: a change answered ok is failed/NotVerified (changed: true); one without a clear answer is
  failed/OutcomeUnknown (changed: null); refused attempts only are failed/Interrupted (changed: false); no intent is
  not_attempted. So nothing is ever well without its `ended`.
- After a `resumed` with reads_again, a target that ended OK before counts as such once it is `confirmed`, or ends
  again. Until then it is failed/NotVerified.
- `resumed` takes back `stopping` and `run_ended`. A lane's counts add up over resumes.
- Without `run_ended` the run was interrupted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

FIELDS: Final[dict[str, frozenset[str]]] = {
    "run_started": frozenset(
        (
            "run_id",
            "started_at",
            "tool",
            "manifest",
            "selection",
            "partition",
            "labels",
            "shard",
            "settings",
            "report",
        )
    ),
    "target": frozenset(("index", "id", "account", "region", "key_id", "valid_to")),
    "caller": frozenset(("caller", "environment", "endpoints")),
    "lane": frozenset(("account", "region", "quota")),
    "pinned": frozenset(("index", "key_arn", "key_state", "key_spec")),
    "intent": frozenset(("index", "operation", "attempt")),
    "answered": frozenset(("index", "operation", "outcome", "request_id")),
    "ended": frozenset(("index", "result")),
    "lane_ended": frozenset(("account", "region", "duration_seconds", "calls", "throttled", "quota")),
    "wrapping_key": frozenset(("mount", "name", "address", "namespace", "action")),
    "stopping": frozenset(("reason",)),
    "run_ended": frozenset(("finished_at",)),
    "confirmed": frozenset(("index",)),
    "resumed": frozenset(("from_seq",)),
}
"""The fields that an event cannot do without."""


def check(event: str, fields: dict[str, object]) -> None:
    """Raises ValueError for an event that is not in the table, or lacks a field: a mistake of the program."""
    required = FIELDS.get(event)
    if required is None:
        raise ValueError(f"{event!r} is not an event of the journal")
    if not required <= fields.keys():
        raise ValueError(f"{event} lacks {', '.join(sorted(required - fields.keys()))}")


def moment(text: str) -> datetime:
    """An instant of an event. Raises ValueError where it has no offset: it cannot be compared with others."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("an instant has no offset")
    return found


def failure(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """The failure of a run_ended. Raises KeyError, TypeError or ValueError where it is none."""
    if values is not None and not all(
        isinstance(values[name], kind) for name, kind in (("code", str), ("message", str), ("exit_code", int))
    ):
        raise ValueError("failure is not as a run writes it")
    return values
