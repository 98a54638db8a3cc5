"""One file per command: ARGUMENTS and GROUPS (of settings) for the command line, `execute` to do it.

FORMATS, where the result has several forms: what --format may be, the default first. `without_effect(settings)`,
where an option needs another to have an effect: pairs of a setting and why.

They hand the implementations of the ports in and write the result; what to do is decided elsewhere.
"""
