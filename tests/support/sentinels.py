"""A store that sentinels watch over: a primary, its replicas, and who promotes one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sharq.settings.options import StoreSettings
from tests.support.stores import Option, PrivateStore, free_port, store_binary, wait_for

SERVICE = "mymaster"


class PrivateSentinel:
    """One sentinel of a test's own; `lines` are more of its configuration."""

    host = "127.0.0.1"

    def __init__(
        self,
        primary: int,
        down_after: int,
        quorum: int,
        lines: str = "",
        service: str = SERVICE,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sharq-sentinel-"))
        self.port = free_port()
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self.password: str | None = None
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {self.host}\ndir {self.folder}\nlogfile sentinel.log\n"
            f"sentinel monitor {service} {self.host} {primary} {quorum}\n"
            f"sentinel down-after-milliseconds {service} {down_after}\n"
            f"sentinel failover-timeout {service} 2000\n"
            f"sentinel parallel-syncs {service} 1\n{lines}"
        )
        self.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start it on the configuration that it has, and wait until it answers."""
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [store_binary(), str(self.folder / "sentinel.conf"), "--sentinel"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for("a sentinel answers", self._answers)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.stopped = False

    def pause(self) -> None:
        """Let it hang: it keeps its connections and does not answer."""
        self._signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.stopped = False

    @property
    def pid(self) -> int:
        """Its process id, 0 where it does not run."""
        return self._process.pid if self._process is not None else 0

    @property
    def runs(self) -> bool:
        return self._process is not None

    def ask(self, *words: str | int) -> Any:
        """Run one command; replies are text."""
        client = redis.Redis(
            host=self.host,
            port=self.port,
            password=self.password,
            decode_responses=True,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]
        finally:
            client.close()

    def state(self) -> dict[str, str]:
        """What it knows of the primary."""
        words = self.ask("SENTINEL", "MASTER", SERVICE)
        facts = (
            words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
        )
        return {name: str(value) for name, value in facts.items()}

    def log(self) -> str:
        path = self.folder / "sentinel.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        self.kill()
        rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the sentinel does not run"
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return bool(self.ask("PING"))
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False


class PrivateSentinels:
    """A primary with two replicas, and three sentinels that promote one when it is down.

    A primary that is silent for `down_after` ms is down. `options` are settings of every node, as
    of `PrivateStore`, which `make` makes; `lines` are more of the sentinels' configuration.
    """

    def __init__(
        self,
        *,
        down_after: int = 1500,
        replicas: int = 2,
        lines: str = "",
        make: Callable[..., PrivateStore] = PrivateStore,
        **options: Option,
    ) -> None:
        self.nodes: list[PrivateStore] = []
        self.sentinels: list[PrivateSentinel] = []
        # The nodes are alike: whichever restarts begins as a primary, as one does that crashed.
        settings: dict[str, Option] = {
            "repl-diskless-sync-delay": 0,
            "repl-backlog-size": "16mb",
            **options,
        }
        try:
            for _ in range(1 + replicas):
                self.nodes.append(make(tcp=True, **settings))
            for node in self.nodes[1:]:
                follow(node, self.nodes[0])
            for _ in range(3):
                sentinel = PrivateSentinel(self.nodes[0].port, down_after, 2, lines)
                self.sentinels.append(sentinel)
            self.wait_until_ok()
        except BaseException:
            self.close()
            raise

    def settings(self, **more: Any) -> StoreSettings:
        """How SharQ finds the store."""
        return StoreSettings(
            conn_type="sentinel",
            sentinels=tuple(each.address for each in self.sentinels),
            sentinel_service=SERVICE,
            **more,
        )

    @property
    def primary(self) -> PrivateStore:
        """The node that the sentinels with the newest configuration name."""
        named = max(
            (each.state() for each in self.sentinels if each.runs and not each.stopped),
            key=lambda state: int(state["config-epoch"]),
        )
        return self.at(int(named["port"]))

    def primary_by_role(self) -> PrivateStore:
        """The one node that takes itself for a primary, where no sentinel can be asked."""
        (primary,) = (node for node in self.nodes if node.command("ROLE")[0] == b"master")
        return primary

    def at(self, port: int) -> PrivateStore:
        return next(node for node in self.nodes if node.port == port)

    def fail_over(self, *words: str) -> PrivateStore:
        """Have a healthy primary replaced; returns the new one when all sentinels name it."""
        former = self.primary
        wait_for("a failover can begin", lambda: self.begin_failover(*words))
        return self.wait_for_another(former)

    def wait_for_another(self, former: PrivateStore) -> PrivateStore:
        """Wait until all sentinels that run name another primary than `former`."""
        wait_for("all name another primary", lambda: self._all_left(former), 20)
        return self.primary

    @contextmanager
    def events(self, *names: str) -> Iterator[list[tuple[float, str]]]:
        """What the sentinels tell of the store, with `time.monotonic()`, as it comes."""
        seen: list[tuple[float, str]] = []
        listeners = []
        for sentinel in self.sentinels:
            if not sentinel.runs or sentinel.stopped:
                continue
            client = redis.Redis(host=sentinel.host, port=sentinel.port, decode_responses=True)
            pubsub = client.pubsub()  # type: ignore[no-untyped-call]

            def note(message: dict[str, str]) -> None:
                seen.append((time.monotonic(), f"{message['channel']} {message['data']}"))

            pubsub.subscribe(**dict.fromkeys(names, note))
            listeners.append((client, pubsub, pubsub.run_in_thread(sleep_time=0.05, daemon=True)))
        try:
            yield seen
        finally:
            for client, pubsub, thread in listeners:
                thread.stop()
                thread.join()
                pubsub.close()
                client.close()

    def mend(self) -> None:
        """Start and resume what a test has harmed, and have all follow the primary again."""
        for sentinel in self.sentinels:
            if sentinel.stopped:
                sentinel.resume()
            elif not sentinel.runs:
                sentinel.start()
        for node in self.nodes:
            if node._process is None:
                node.start()
            else:
                node.resume()
        wait_for("the sentinels agree", self._agree, 20)
        primary = self.primary
        for node in self.nodes:
            if node is not primary:
                follow(node, primary)
        self.wait_until_ok()

    def wait_until_ok(self) -> None:
        """Wait until all sentinels know of each other and of all nodes, and find them well."""
        wait_for("the sentinels find all well", self._is_ok, 30)

    def close(self) -> None:
        """End all, and remove their folders."""
        for sentinel in self.sentinels:
            sentinel.close()
        for node in self.nodes:
            with suppress(AssertionError):
                node.resume()
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin_failover(self, *words: str) -> bool:
        """Ask for a failover; returns whether one can begin now."""
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE, *words)
        except redis.ResponseError as error:
            if "NOGOODSLAVE" in str(error) or "INPROG" in str(error):
                return False
            raise
        return True

    def _all_left(self, former: PrivateStore) -> bool:
        states = [each.state() for each in self.sentinels if each.runs and not each.stopped]
        return all(int(state["port"]) != former.port for state in states)

    def _agree(self) -> bool:
        states = [each.state() for each in self.sentinels]
        return len({(state["port"], state["config-epoch"]) for state in states}) == 1

    def _is_ok(self) -> bool:
        for sentinel in self.sentinels:
            state = sentinel.state()
            if (
                state["flags"] != "master"
                or int(state["num-other-sentinels"]) != len(self.sentinels) - 1
                or int(state["num-slaves"]) != len(self.nodes) - 1
            ):
                return False
        primary = self.primary
        info = primary.client.info("replication")
        states = [info.get(f"slave{at}", {}).get("state") for at in range(len(self.nodes) - 1)]
        return info["role"] == "master" and all(state == "online" for state in states)


def follow(node: PrivateStore, primary: PrivateStore) -> None:
    """Make a node a replica."""
    node.command("REPLICAOF", primary.host, primary.port)
