"""The options, in one table; where they are read from, how they are checked, and token files.

Imports: errors, identifiers. Imported by: all wings above; the server.
"""
