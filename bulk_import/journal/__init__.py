"""The journal of a run: append-only, survives `kill -9`. Every stage writes to it; a resume and the report read it."""
