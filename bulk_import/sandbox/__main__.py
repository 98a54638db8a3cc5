"""`python -m bulk_import.sandbox`: a sandbox until SIGINT or SIGTERM; stdout's first line is its endpoint URL."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bulk_import.errors import InputError
from bulk_import.sandbox.server import serve
from bulk_import.sandbox.world import SandboxOptions


def _rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    return name, float(rate)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bulk_import.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--seed", type=Path, help="YAML file of accounts, roles and keys")
    parser.add_argument("--enforce-quotas", action="store_true", help="throttle as KMS does")
    parser.add_argument("--quota", type=_rate, action="append", default=[], metavar="OPERATION=RATE")
    parser.add_argument("--lag", type=float, default=0.0, metavar="SECONDS", help="half of the reads are this stale")
    parser.add_argument("--authorization-lag", type=float, default=0.0, metavar="SECONDS", help="of aliases and tags")
    parser.add_argument("--enforce-policies", action="store_true", help="judge policies and signatures")
    parser.add_argument("--strict-roles", action="store_true", help="only seeded roles can be assumed")
    parser.add_argument("--pool", type=Path, help="folder that keeps primes for wrapping keys between runs")
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input closes")
    given = parser.parse_args(argv)
    options = SandboxOptions(
        port=given.port,
        seed=given.seed,
        enforce_quotas=given.enforce_quotas,
        quotas=dict(given.quota),
        lag_seconds=given.lag,
        authorization_lag_seconds=given.authorization_lag,
        enforce_policies=given.enforce_policies,
        strict_roles=given.strict_roles,
        pool=given.pool,
        stop_with_stdin=given.stop_with_stdin,
    )
    try:
        serve(options)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's own message
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
