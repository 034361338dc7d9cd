"""`sharq migrate`: moves the jobs of the original SHARQ into a store of this one.

`migration` goes through the types and queues, `transfer` moves a chunk, `source` and its scripts in
``migration/lua/`` are the original's side, `target` is ours.

Imports: the blocking engine, deployment, store, operations, settings, codec,
identifiers, results, errors.
Imported by: cli.
"""
