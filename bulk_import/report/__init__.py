"""The report: a fold of plan and journal.

    run ──Sink──▶ journal/writer.py ──file──▶ journal/reader.py ──▶ fold.py ──▶ document.py ──▶ delivery/

Only the journal's file passes from left to right: the report of a killed run is made like any other.
"""
