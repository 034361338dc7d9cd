"""`sharq conform`: plays a server of the push channel to a client, and says what it got right.

A scenario is one point: it plays its part on the `Stage`, which answers the client's frames as a
server does, or as the scenario has it. `listening` puts the stage behind a port, with Tornado,
which is in the server's extra. There is no store.

Imports: settings. Imported by: cli.
"""
