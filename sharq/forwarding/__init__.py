"""Jobs to an HTTP endpoint: what is sent, how it is signed, and what an answer means.

Imports: worker, endings, failures, results, errors, and Tornado, which is in the server's extra.
Imported by: cli.
"""
