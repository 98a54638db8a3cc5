"""The principal that assumes the importer roles, by its ARN."""

from __future__ import annotations

import re

from bulk_import.errors import UsageError

# Stands where no --caller-arn was given. IAM refuses it as a principal, so that it cannot be left in by oversight.
PLACEHOLDER = "REPLACE-WITH-THE-CALLERS-ARN"
# Without wildcards and $: in Principal and Resource they would mean other principals too.
_PATH_AND_NAME = r"(?:[!-#%-)+->@-z|~]+/)?[A-Za-z0-9_+=,.@-]{1,64}"
ARN_PATTERN = rf"arn:[a-z-]+:iam::[0-9]{{12}}:(?:role/{_PATH_AND_NAME}|user/{_PATH_AND_NAME}|root)"


def check_caller(arn: str | None, partition: str) -> None:
    """Raises UsageError where `arn` is no principal that a trust policy of this partition can name."""
    if arn is None:
        return
    if re.fullmatch(r"arn:[a-z-]+:sts::[0-9]{12}:assumed-role/.+", arn):
        raise UsageError(
            "--caller-arn: that is a session of a role. Give the role itself, with its path if it has one: "
            "arn:aws:iam::111122223333:role/path/Name."
        )
    if re.fullmatch(ARN_PATTERN, arn) is None:
        raise UsageError(
            "--caller-arn: write the ARN of a role, a user or an account: arn:aws:iam::111122223333:role/Name."
        )
    if arn.split(":")[1] != partition:
        raise UsageError(f"--caller-arn: {arn} is not of the manifest's partition, {partition}.")
