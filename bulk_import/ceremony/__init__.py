"""The offline ceremony in three steps: prepare, seal, submit; and the files that go from one to the next."""
