"""What is counted and measured, and how Prometheus is told.

Imports: the library. Imported by: api, http, push, process, gateway, app, service, `__main__`.
"""
