"""`sharq-server` with scripts that write down what they do, by a clock that can be moved.

python -m tests.faults.server takes the arguments of sharq-server.
"""

from __future__ import annotations

import sys

import sharq.deployment
from sharq_server.__main__ import main
from tests.faults.audit import audited_scripts

if __name__ == "__main__":
    for name in ("shipped", "Scripts"):
        setattr(sharq.deployment, name, audited_scripts)
    sys.exit(main())
