"""What operators see live: one look a second for all who watch, told as differences.

Imports: api, telemetry. Imported by: push, app.
"""
