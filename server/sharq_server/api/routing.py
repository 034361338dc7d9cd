"""From a path to a route and the names in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from sharq_server.api.handlers import Handler
from sharq_server.api.replies import Reply, method_not_allowed

EVERY: Final = "*"
"""For an operation: only tokens for all operations may do this."""

OPEN: Final = ""
"""For an operation: everybody may do this."""


class Route:
    """One shape of path: its methods, and the answer to any other method.

    `names` are the fields that the variable segments stand for; after them there may be one more
    segment, `last`, which is as it stands. HEAD is a GET without a body;
    `head` is False where a GET has effects. `bulk` tells that bodies may be as large as many jobs
    are. `operation` is the right that a client needs; with `reading`, GET needs that one instead.
    `default_type` is the queue type if the path has none. With `tells_of_stop` its answer is
    "stopping" as soon as the server has to stop.
    """

    def __init__(
        self,
        template: str,
        methods: Mapping[str, Handler],
        *,
        operation: str = EVERY,
        reading: str | None = None,
        default_type: str | None = None,
        head: bool = True,
        bulk: bool = False,
        tells_of_stop: bool = False,
    ) -> None:
        self.template: Final = template
        self.first, *rest = template.strip("/").split("/")
        self.last: Final = rest.pop() if rest and not rest[-1].startswith("<") else ""
        self.names: Final = tuple(segment.strip("<>") for segment in rest)
        self.methods: Final = dict(methods)
        self.bulk: Final = bulk
        self.tells_of_stop: Final = tells_of_stop
        self.operation: Final = operation
        self._reading: Final = reading
        self._default_type: Final = default_type
        self._safe: Final = frozenset(("GET", "HEAD")) if head else frozenset()
        if head and "GET" in methods:
            self.methods["HEAD"] = methods["GET"]
        self.not_allowed: Final[Reply] = method_not_allowed(", ".join(sorted(self.methods)))

    def queue_type(self, values: tuple[str, ...]) -> str | None:
        """The queue type that a request is about; None if it is about all, or several."""
        return values[0] if values else self._default_type

    def operation_of(self, method: str) -> str:
        """The right that a client needs for a request by this method."""
        if self._reading is not None and method in self._safe:
            return self._reading
        return self.operation

    def has_effects(self, method: str) -> bool:
        """Whether a request by this method may change something."""
        return method not in self._safe


class Match(NamedTuple):
    """A route, and its variable segments, percent-decoded and not yet checked."""

    route: Route
    values: tuple[str, ...]


class Router:
    """Finds routes. A trailing slash makes no difference; an empty or a dot segment is no name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = {(route.first, len(route.names), route.last): route for route in routes}

    def find(self, path: str) -> Match | None:
        """The route of a path as it came over the wire, or None."""
        if "%" in path:
            # Latin-1 keeps every byte: the check of names refuses those that are not ASCII.
            segments = [unquote_to_bytes(s).decode("latin-1") for s in path.split("/")]
        else:
            segments = path.split("/")
        if segments[-1] == "" and len(segments) > 2:
            segments.pop()
        if len(segments) < 2 or segments[0] != "" or (segments[1] == "" and path != "/"):
            return None
        values = segments[2:]
        if "" in values or "." in values or ".." in values:
            return None
        route = self._routes.get((segments[1], len(values), ""))
        if route is None and values:
            *values, last = values
            route = self._routes.get((segments[1], len(values), last))
        return None if route is None else Match(route, tuple(values))
