"""Bytes to requests and answers to bytes: listening, connections, framing, time-outs, limits.

Imports: api, security, telemetry. Imported by: push, app, process.
"""
