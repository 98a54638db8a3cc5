"""Remember and tell: the journal of a run, and the report that is folded from it.

    run ──Sink──▶ journal.py ──file──▶ reading.py ──▶ fold.py ──▶ report.py ──▶ report.json

Nothing but the journal's file passes from the left to the right: a killed run's report is made as any other.
"""
