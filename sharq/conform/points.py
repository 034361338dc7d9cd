"""All points, in the order in which they are played."""

from __future__ import annotations

from typing import Final

from sharq.conform.refusing import REFUSING
from sharq.conform.returning import RETURNING
from sharq.conform.steady import FIRST, LAST
from sharq.conform.stopping import STOPPING

POINTS: Final = (*FIRST, *REFUSING, *RETURNING, STOPPING, *LAST)
"""Those that need another connection come late: a client may have none any more."""
