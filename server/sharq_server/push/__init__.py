"""Jobs to subscribers as they become ready: sessions, credit, dispatch, schedule, long poll.

Imports: http, api, security, telemetry. Imported by: app, service.
"""
