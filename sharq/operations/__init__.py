"""The operations on queues, without I/O: calls of the store, and flows over them.

Imports: the compiled codec, codec, settings, results, errors. Imported by: store, the faces.
"""
