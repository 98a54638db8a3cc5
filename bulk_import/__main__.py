"""`python -m bulk_import`: the same as `bulk-import`."""

import sys

from bulk_import.cli import main

sys.exit(main())
