"""The private Valkey: its process, its folder, and who may use it.

Imports: settings, errors. Imported by: store; the server.
"""
