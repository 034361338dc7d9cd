"""Pages for people.

Imports: api. Imported by: app.
"""
