"""What a request means: routes, handlers, bodies, replies, and their description.

Imports: security. Imported by: http, push, ui, app.
"""
