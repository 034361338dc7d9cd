"""Server processes: signals, stopping, workers, and what one of them does for all: upkeep.

Imports: app, http, push. Imported by: service, `__main__`.
"""
