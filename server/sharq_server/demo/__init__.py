"""The live demo: a client like any other, with a server of its own.

Imports: nothing of the server's. Imported by: nobody.
"""
