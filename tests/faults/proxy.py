"""The proxies of a run, in a process of their own: python -m tests.faults.proxy.

Orders are `{"gate": name, "do": …}` with:
`open` (and `target`, a socket's path or a port of loopback; answered by the port of the gate),
`cut` (resets all connections), `stall` and `resume` (nothing passes, the connections stay), and
`lose` and `keep` (requests pass; their replies do not, and the connection ends with the first).
"""

from __future__ import annotations

import asyncio

from tests.faults.control import orders, report
from tests.support.gate import Gate


async def main() -> None:
    """Do what is ordered until the harness is gone."""
    gates: dict[str, Gate] = {}
    async for order in orders():
        name, what = order["gate"], order["do"]
        if what == "open":
            target = order["target"]
            gate = gates[name] = Gate(target if isinstance(target, str) else (Gate.host, target))
            gate.accept()
            report(gate=name, port=gate.port)
        elif what == "cut":
            await gates[name].cut()
        elif what == "stall":
            gates[name].stall()
        elif what == "resume":
            gates[name].resume()
        else:
            gates[name].loses_replies = what == "lose"


if __name__ == "__main__":
    asyncio.run(main())
