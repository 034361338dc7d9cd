"""What a client knows before it connects: its settings, their source, and its scripts."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from sharq.operations.flows import Flows
from sharq.operations.observing import ObservedOperations, Observer
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts, shipped
from sharq.settings.reading import Settings

ConfigSource = str | os.PathLike[str] | Settings | None


class Deployment(NamedTuple):
    """Settings and scripts that go together. They are never changed, but replaced together."""

    source: ConfigSource
    settings: Settings
    scripts: Scripts

    @classmethod
    def read(cls, source: ConfigSource, scripts: Scripts | None = None) -> Deployment:
        """Settings as they are, or from a file (None: no file) and the environment.

        Raises `ConfigError`.
        """
        if isinstance(source, Settings):
            settings = source
        else:
            path = None if source is None else os.fspath(source)
            settings = Settings.load(path, environ=os.environ)
        return cls(source, settings, scripts or shipped())

    def reread(self, source: ConfigSource = None) -> Deployment:
        """The same with settings that are read again, or from another source."""
        return Deployment.read(self.source if source is None else source, self.scripts)

    def with_new_scripts(self) -> Deployment:
        """The same with scripts that are read again."""
        return Deployment(self.source, self.settings, Scripts())

    def takes_other_connections(self, former: Deployment) -> bool:
        """Whether the connections of `former` cannot be used for this one."""
        return self.settings.redis != former.settings.redis or self.scripts is not former.scripts

    def operations(self, observer: Observer | None = None) -> Operations:
        """The operations by these settings and scripts; their outcomes are told to `observer`."""
        prefix, settings = self.settings.redis.key_prefix, self.settings.sharq
        if observer is None:
            return Operations(prefix, settings, self.scripts)
        return ObservedOperations(prefix, settings, self.scripts, observer)

    def flows(
        self,
        former: Flows | None = None,
        observer: Observer | None = None,
        *,
        reclaims: bool,
    ) -> Flows:
        """The flows of these operations, in the place of `former` ones: see `Flows`."""
        if former is not None and former.operations.prefix != self.settings.redis.key_prefix:
            former = None
        return Flows(
            self.operations(observer),
            self.settings.sharq,
            time.monotonic,
            reclaims=reclaims,
            clustered=self.settings.redis.clustered,
            former=former,
        )
