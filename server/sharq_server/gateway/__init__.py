"""The REST API as a WSGI application, for web servers such as uWSGI and gunicorn.

Imports: http (what is wrong with a head), ui, api, security,
telemetry. Imported by: `sharq_server.wsgi`.
"""
