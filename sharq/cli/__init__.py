"""The command `sharq`: a file for each verb.

Verbs that ask a server over REST are in `verbs.py`; they know no store.

Imports: worker, forwarding, conform, the blocking engine, deployment, settings, codec,
identifiers, errors.
Imported by: `sharq.__main__`, and the server, for what its extra is.
"""
