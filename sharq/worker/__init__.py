"""`Worker`: handlers that are called with leased jobs, over the push channel of a server.

Imports: codec, operations (payloads), store (back-off), failures, errors. Imported by: cli.
"""
