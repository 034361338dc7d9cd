"""Server processes: signals, stopping, workers, and the maintenance that one of them does for all.

Imports: app, http, push. Imported by: service, `__main__`.
"""
