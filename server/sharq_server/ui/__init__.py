"""Pages for people: the dashboard.

Imports: api. Imported by: app, gateway.
"""
