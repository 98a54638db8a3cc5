"""A local AWS on 127.0.0.1: moto's server with the import of key material, quotas, lag and faults.

It shares no code with the rest of the program, so that one mistake cannot are on both sides. `moto` is an extra
and is imported here only.
"""
