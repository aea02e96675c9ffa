"""The command line: thin commands over core, one contract for all of them.

`app` is the root, `table` names every command, `groups` imports them lazily, `contract` is what all of them keep.
Logic that a host program could want lives below, in `plugins/`, `config` and `runtime`.
"""
