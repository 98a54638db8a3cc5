"""`bulk-import`, and `python -m bulk_import`."""

import sys

from bulk_import import process


def main() -> int:
    """Runs the command line in this process. Returns its exit code."""
    process.begin()
    from bulk_import import cli  # noqa: PLC0415 - takes long, and signals must be heard before

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
