"""--only-failed: which targets failed or were not attempted in an earlier run against the same AWS."""

from __future__ import annotations

from typing import Any, Final

from bulk_import.errors import InputError, Problem
from bulk_import.model import FailedTargets, Status
from bulk_import.settings import Settings

_OPTION: Final = "--only-failed"
_FAILED: Final = frozenset({Status.FAILED.value, Status.NOT_ATTEMPTED.value})


def load_failed(settings: Settings) -> FailedTargets | None:
    """Reads the report of --only-failed, or makes it from a journal. None: the setting is not given.

    Raises InputError, which names the report, where it cannot be read or its run did not talk to the AWS that the
    settings name; CallerError where the credentials for S3 do not work.
    """
    name = settings.only_failed
    if name is None:
        return None
    if name == "-":
        raise _refused(name, "stdin cannot be the report.", "Name a file or s3://bucket/key.")
    from bulk_import.api.reports import open_reports  # noqa: PLC0415 - only where such a report is read

    with open_reports([name], settings.model_copy(update={"output": "-"})) as merged:
        head = merged.report.head
        targets = frozenset(
            (result["id"], result["account"], result["region"])
            for result in merged.report.results
            if result["status"] in _FAILED
        )
    _check_place(name, head, settings)
    run = head["run"]
    return FailedTargets(name, run["run_id"], run["manifest"]["sha256"], targets)


def _check_place(name: str, head: dict[str, Any], settings: Settings) -> None:
    """Nothing is called. A run that made no call itself shows nothing that could be of another AWS."""
    run, regions = head["run"], sorted(lane["region"] for lane in head["lanes"])
    if run["environment"] is None or not regions:
        return

    from bulk_import.aws import objects  # noqa: PLC0415 - reading a manifest needs no AWS library
    from bulk_import.aws.wire.clients import Clients  # noqa: PLC0415

    async def endpoint() -> tuple[str, bool]:
        async with Clients(settings, "-", run["partition"]) as clients:
            await clients.kms(regions[0])
            return clients.endpoints["kms"], bool(clients.foreign)

    ours, foreign = objects.outside(endpoint)
    theirs = run["endpoints"].get("kms")
    if foreign != (run["environment"] != "aws") or (foreign and ours != theirs):
        message = f"this run talked to {theirs or run['environment']}, not to {ours}."
        raise _refused(name, message, "Name a report of a run against the same AWS.")


def _refused(name: str, message: str, advice: str) -> InputError:
    return InputError([Problem(name, 0, _OPTION, message, advice)])
