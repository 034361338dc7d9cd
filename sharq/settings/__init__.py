"""The options, in one table; their sources and checks; token files.

Imports: errors, identifiers. Imported by: all wings above; the server.
"""
