"""What can be asked of a queue, without I/O: operations as calls of the store, flows over them.

Imports: the compiled codec, codec, settings, results, errors. Imported by: store, the faces.
"""
