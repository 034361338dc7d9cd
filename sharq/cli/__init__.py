"""The command `sharq`: a file for each verb.

Imports: worker, the blocking engine, deployment, settings, errors. Imported by: `sharq.__main__`,
and the server, for what its extra is.
"""
