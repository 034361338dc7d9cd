"""The private Valkey: its process, its folder, and who may use it.

Imports: errors. Imported by: store; the server.
"""
