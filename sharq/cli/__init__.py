"""The command `sharq`: a file for each verb.

Imports: worker, settings, errors. Imported by: `sharq.__main__`.
"""
