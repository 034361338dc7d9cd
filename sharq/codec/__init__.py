"""Formats: text and frames that are read and written in more than one place, above the compiled
codec (`sharq._fastpath`), whose parts by subject are the files ``*.pxi`` here.

Imports: the compiled codec, errors. Imported by: operations, worker; the server.
"""
