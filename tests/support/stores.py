"""Real stores for tests: one that can be killed, stopped and restarted, and a cluster of them.

The binary is the one of the embedded store; the environment variable SHARQ_TEST_REDIS_SERVER
names another (a redis-server of 6.2 or later).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sharq.embedded import allocator
from sharq.embedded.process import find_binary
from sharq.operations.scripts import shipped

Option = str | int | bool | Sequence[str]

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 20.0
_SLOTS = 16384


def store_binary() -> str:
    """The store that tests run against."""
    return os.environ.get("SHARQ_TEST_REDIS_SERVER") or str(find_binary())


def wait_for(what: str, condition: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Wait until `condition()` is true and return its value; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout:g} s: {what}")
        time.sleep(0.005)
    return value


def free_port() -> int:
    """A loopback port that nobody uses, nor the one 10,000 above it (a cluster's bus).

    Both lie below the ports that the system gives to outgoing connections, so that none of those
    takes the place of a store that is down for a moment.
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, 22_000)
        try:
            for wanted in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", wanted))
        except OSError:
            continue
        return port


class PrivateStore:
    """A store of a test's own, in a temporary folder, on a unix socket and, with `tcp`, a port.

    Runs from its construction on. `options` are the store's settings with underscores for
    hyphens (``appendonly=True``, ``maxmemory="2mb"``, ``user=["bob", "on", ">pw", "+@all"]``);
    nothing is written to the disk unless they say so. There are no locks: what is killed can be
    started again on the same data, socket and port. `within`: where its folder is made.
    """

    host = "127.0.0.1"

    def __init__(self, *, tcp: bool = False, within: str | None = None, **options: Option) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sharq-test-", dir=within))
        self.socket_path = str(self.folder / "store.sock")
        self.port = 0
        self.bus_port = 0
        self._tcp = tcp
        self._options: dict[str, Option] = {
            "bind": self.host,
            "unixsocket": self.socket_path,
            "unixsocketperm": "600",
            "save": "",
            "appendonly": False,
            "logfile": "store.log",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        try:
            self._start_on_a_free_port()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def client(self) -> redis.Redis:
        """A client of the running store, over the unix socket; replies are bytes."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def load_scripts(self, client: redis.Redis | None = None) -> None:
        """Load all scripts, so that no call has to load its own first."""
        for source in shipped().by_digest.values():
            (client or self.client).script_load(source)

    def command(self, *words: str | bytes | int) -> Any:
        """Run one command of the store over `client`."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def script_calls(self) -> int:
        """How many scripts the store has run, without calls of a script that it lacked."""
        stats: Any = self.client.info("commandstats")
        told = stats.get("cmdstat_evalsha", {})
        return int(told.get("calls", 0)) - int(told.get("failed_calls", 0))

    def connect(self, **arguments: Any) -> redis.Redis:
        """A client with arguments of redis-py's; over the unix socket, never trying twice."""
        settings: dict[str, Any] = {
            "unix_socket_path": self.socket_path,
            "password": self._options.get("requirepass"),
            "protocol": 2,
            "socket_timeout": 10,
            "retry": Retry(NoBackoff(), 0),
            **arguments,
        }
        return redis.Redis(**settings)

    def start(self) -> None:
        """Start the store on the data, socket and port it had; wait until it answers."""
        assert self._process is None, "the store runs already"
        command = [store_binary(), "--port", str(self.port)]
        for name, value in self._options.items():
            command += [f"--{name}", *_words(value)]
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*allocator.preloading(), *command],
                cwd=self.folder,
                env=allocator.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for("the store answers", self._answers, _START_TIMEOUT)

    def stop(self) -> None:
        """End the store in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the store as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End the store in good order and start it on the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let the store hang: it keeps its connections and does not answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused store go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """What the store wrote so far, last run last."""
        names = ("output.log", "store.log")
        paths = [self.folder / name for name in names]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def close(self) -> None:
        """End the store, if it runs, and remove its folder."""
        if self._process is not None:
            self.kill()
        self._drop_client()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start_on_a_free_port(self) -> None:
        for attempts_left in (4, 3, 2, 1, 0):
            self.port = free_port() if self._tcp else 0
            try:
                self.start()
            except RuntimeError:
                # Somebody may have been quicker to take the port.
                if "Address already in use" not in self.log() or not attempts_left:
                    raise
            else:
                return

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the store does not run"
        return self._process

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            self._process = None
            raise RuntimeError(f"The store ended at its start:\n{self.log()}")
        try:
            return bool(self.client.ping())
        except redis.AuthenticationError:
            return True  # the test brings users of its own
        except redis.ConnectionError:  # not there yet, or loading its data
            return False

    def _end(self, how: signal.Signals) -> None:
        self._drop_client()
        process = self._running()
        process.send_signal(how)
        process.wait(_STOP_TIMEOUT)
        self._process = None

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class PrivateCluster:
    """A cluster of primaries on loopback; node i owns the i-th equal part of the slots.

    `options` are settings of every node, as of `PrivateStore`, which `make` makes.
    """

    def __init__(
        self,
        primaries: int = 3,
        make: Callable[..., PrivateStore] = PrivateStore,
        **options: Option,
    ) -> None:
        self._make = make
        self.nodes: list[PrivateStore] = []
        settings: dict[str, Option] = {
            "cluster-enabled": True,
            "cluster-node-timeout": 2000,
            **options,
        }
        try:
            for _ in range(primaries):
                self.nodes.append(self._node(settings))
            self._assemble()
        except BaseException:
            self.close()
            raise

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    def slot_of(self, key: str | bytes) -> int:
        """The slot of a key."""
        return int(self.nodes[0].command("CLUSTER", "KEYSLOT", key))

    def owner_of(self, slot: int) -> PrivateStore:
        """The node that answers for a slot by its own account."""
        for node in self.nodes:
            for first, last, primary, *_ in node.command("CLUSTER", "SLOTS"):
                if first <= slot <= last and primary[1] == node.port:
                    return node
        raise AssertionError(f"no node owns slot {slot}")

    def begin_move(self, slot: int, target: PrivateStore) -> None:
        """Mark a slot as MIGRATING at its owner and IMPORTING at `target`; no key moves."""
        source = self.owner_of(slot)
        _set_slot(target, slot, "IMPORTING", _identity(source))
        _set_slot(source, slot, "MIGRATING", _identity(target))

    def cancel_move(self, slot: int) -> None:
        """Take the marks of `begin_move` away."""
        for node in self._deciding():
            _set_slot(node, slot, "STABLE")

    def finish_move(self, slot: int, target: PrivateStore) -> None:
        """Move the keys of a slot that was marked, then make `target` its owner everywhere."""
        source = self.owner_of(slot)
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            place = (target.host, target.port, "", 0, 5000)
            source.command("MIGRATE", *place, "KEYS", *keys)
        for node in sorted(self._deciding(), key=lambda node: node is not target):
            _set_slot(node, slot, "NODE", _identity(target))

    def _deciding(self) -> list[PrivateStore]:
        """The nodes that are told of slots; replicas hear it from their primaries."""
        return self.nodes

    def wait_until_ok(self, timeout: float = 20.0) -> None:
        """Wait until every node sees every other one and all slots are served."""
        wait_for("all nodes agree that the cluster is ok", self._is_ok, timeout)

    def close(self) -> None:
        """End the nodes and remove their folders."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _assemble(self) -> None:
        bounds = [index * _SLOTS // len(self.nodes) for index in range(len(self.nodes) + 1)]
        for index, node in enumerate(self.nodes):
            first, last = bounds[index], bounds[index + 1] - 1
            try:
                node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            except redis.ResponseError:  # Redis 6.2
                node.command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            # Nodes that meet with the same epoch would have to settle who gives way.
            node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            self._meet(node)
        self.wait_until_ok()

    def _node(self, settings: dict[str, Option]) -> PrivateStore:
        return self._make(tcp=True, **settings)

    def _meet(self, node: PrivateStore) -> None:
        self.nodes[0].command("CLUSTER", "MEET", node.host, node.port)

    def _is_ok(self) -> bool:
        for node in self.nodes:
            info = node.command("CLUSTER", "INFO")
            lines = info.decode().splitlines() if isinstance(info, bytes) else info
            facts = dict(line.split(":", 1) for line in lines)
            expected = {
                "cluster_state": "ok",
                "cluster_known_nodes": str(len(self.nodes)),
                "cluster_slots_ok": str(_SLOTS),
            }
            if expected.items() - facts.items():
                return False
        # Each may be content and have another map: the owner of a slot has to be told of twice.
        maps = [node.command("CLUSTER", "SLOTS") for node in self.nodes]
        owners = [
            {(first, last, primary[1]) for first, last, primary, *_ in of_one} for of_one in maps
        ]
        return all(each == owners[0] for each in owners)


def _words(value: Option) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)] if isinstance(value, str | int) else list(value)


def _identity(node: PrivateStore) -> str:
    return str(node.command("CLUSTER", "MYID").decode())


def _set_slot(node: PrivateStore, slot: int, *what: str) -> None:
    node.command("CLUSTER", "SETSLOT", slot, *what)
