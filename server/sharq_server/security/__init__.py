"""Access: connections, proxies, hosts and origins, tokens, certificates.

Imports: nothing of the server's. Imported by: api, http, push, app.
"""
