"""Connections to the store: one node or a cluster, blocking or in an event loop.

Imports: operations (calls), embedded, settings, errors. Imported by: the faces, worker.
"""
