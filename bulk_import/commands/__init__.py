"""One file per command: ARGUMENTS and GROUPS (of settings) for the command line, `execute` to do it.

They hand the implementations of the ports in and write the result; what to do is decided elsewhere.
"""
