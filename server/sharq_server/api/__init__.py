"""What a request means: routes, handlers, bodies, replies, and their description.

Imports: security, telemetry. Imported by: http, push, ui, app.
"""
