"""Connections to the store: one node or a cluster, blocking or in an event loop.

Imports: deployment, operations, embedded, settings, errors. Imported by: the engines, worker.
"""
