"""Which option an environment variable sets: by its name, by its older name, or none. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from sharq.settings.options import GONE, OPTIONS, Option, older_prefix, variable_prefix

BY_VARIABLE: Final[Mapping[str, Option]] = {
    **{option.older_variable: option for option in OPTIONS},
    **{option.variable: option for option in OPTIONS},
}
"""Every variable that sets an option."""

# What the longest prefix says is meant: SHARQ_SHARQ_SERVER_ begins as SHARQ_SHARQ_ does.
_SECTIONS: Final = ("sharq-server", "redis", "sharq")
# Names that programs give to settings of their own: `SHARQ_HOST` may tell a client where to go.
_OF_CLIENTS: Final = {"host", "port", "username", "password"}
# Not even for a section: `SHARQ_SERVER_URL` is a client's, too.
_OF_CLIENTS_ALWAYS: Final = {"url"}
# Of names this much alike, one is the other misspelt (`difflib`: 1 is the same).
_ALIKE: Final = 0.75
_SERVICE: Final = re.compile(
    r"SHARQ_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")


def set_for_a_service(name: str, value: str) -> bool:
    """Whether Kubernetes sets such a variable by itself, for a service of a name like SharQ's.

    For a service called ``sharq-server`` these are ``SHARQ_SERVER_SERVICE_HOST`` and
    ``SHARQ_SERVER_PORT=tcp://10.0.0.11:8080``, among others.
    """
    is_address = name.startswith("SHARQ_") and name.endswith("_PORT") and _URL.match(value)
    return bool(is_address or _SERVICE.fullmatch(name))


def misspelt(name: str) -> tuple[str, str] | None:
    """The section that `name`, which sets no option, is meant for, and the rest of the name.

    None for a variable of somebody else's. A name with the prefix of an older one is always
    SharQ's, ``SHARQ_REDIS_…`` among them; any other is if it resembles an option's.
    """
    for section in _SECTIONS:
        if name.startswith(prefix := older_prefix(section)):
            return section, name.removeprefix(prefix)
    for section in _SECTIONS:
        if name.startswith(prefix := variable_prefix(section)):
            rest = name.removeprefix(prefix)
            return (section, rest) if _is_meant(section, rest.lower()) else None
    return None


def _is_meant(section: str, name: str) -> bool:
    """Whether `name` is like an option of the section, begins as one does, or is another's."""
    own = [option.name for option in OPTIONS if option.section == section]
    own += [option for owner, option in GONE if owner == section]
    if difflib.get_close_matches(name, own, n=1, cutoff=_ALIKE):
        return True
    if "_" in name and any(option.startswith(name) for option in own):
        return True
    of_another = name in {option.name for option in OPTIONS} - _OF_CLIENTS_ALWAYS
    return of_another and not (section == "sharq" and name in _OF_CLIENTS)
