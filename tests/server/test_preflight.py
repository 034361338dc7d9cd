"""`--check` and `--print-config`: what a start would meet, without a start."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from sharq import EmbeddedStore, Settings
from sharq.settings.options import OPTIONS
from sharq.settings.tokens import line_for
from tests.server.command import Server, run
from tests.support.clusters import ReplicatedCluster
from tests.support.replicas import PrivateReplicas
from tests.support.stores import PrivateCluster, PrivateStore, wait_for

FILES = Path(__file__).parents[1] / "support" / "tls"
KEPT = {"appendonly": True, "appendfsync": "always"}


def write_tokens(path: Path) -> None:
    path.write_text(line_for("secret", "one") + "\n")
    path.chmod(0o600)


def test_all_is_well(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    with PrivateStore(**KEPT) as store:
        (tmp_path / "sharq.conf").write_text(
            f"[sharq-server]\nhost = 0.0.0.0\ntoken_file = {tmp_path}/tokens\n"
            f"tls_certificate = {FILES}/server.pem\ntls_key = {FILES}/server.key\n"
            f"accesslog = {tmp_path}/access.log\n"
            f"[redis]\nunix_socket_path = {store.socket_path}\n"
        )
        ran = run(tmp_path, "--check", "-c", "sharq.conf")
        assert store.client.dbsize() == 0
    assert (ran.returncode, ran.stderr) == (0, "")
    said = ran.stdout.splitlines()
    assert said[:2] == ["The configuration is valid.", "Tokens that are valid: 1."]
    assert re.fullmatch(r"The certificate .*server\.pem can be used, for \d+ days\.", said[2])
    assert said[3:] == [f"The store at {store.socket_path} works."]
    assert sorted(os.listdir(tmp_path)) == ["sharq.conf", "tokens"]


def test_each_thing_that_is_wrong_has_a_line(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("nonsense\n")
    (tmp_path / "tokens").chmod(0o600)
    (tmp_path / "sharq.conf").write_text(
        f"[sharq-server]\ntoken_file = {tmp_path}/tokens\ntls_certificate = /absent.pem\n"
        "accesslog = /absent/access.log\n[redis]\nport = 1\n"
    )
    ran = run(tmp_path, "--check", "-c", "sharq.conf")
    assert (ran.returncode, ran.stdout) == (2, "")
    told = ran.stderr.splitlines()
    for line, words in zip(
        told,
        [
            "tokens: line 1: expected a name",
            "/absent.pem cannot be read: No such file or directory.",
            "The access log /absent/access.log cannot be written.",
            "The store at 127.0.0.1, port 1 does not work: Connection refused.",
        ],
        strict=True,
    ):
        assert line.startswith("sharq-server: ")
        assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "others can reach it at 0.0.0.0"),
        (("--host", "unix:/absent/socket"), "no file can be made in /absent."),
        (("--host", "203.0.113.1", "--insecure"), "Cannot listen on 203.0.113.1: Cannot assign"),
        (("--port", "x"), "command line: [sharq-server] port = 'x'"),
        (("-c", "absent.conf"), "absent.conf: cannot be read"),
        (("--data-dir", "/dev/null"), "The data folder /dev/null is not a folder."),
        (("--data-dir", "/proc/absent"), "cannot be made: nothing may be made in /proc."),
    ],
)
def test_what_would_end_a_start(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    if words.startswith("cannot be made") and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    ran = run(tmp_path, "--check", *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert words in ran.stderr


def test_a_certificate_that_is_over_is_wrong(tmp_path: Path) -> None:
    files = {
        "SHARQ_SERVER_TLS_CERTIFICATE": str(FILES / "over.pem"),
        "SHARQ_SERVER_TLS_KEY": str(FILES / "over.key"),
    }
    ran = run(tmp_path, "--check", **files)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"sharq-server: The certificate {FILES}/over.pem has ended.\n"


def test_a_key_that_is_missing_is_thought_of(tmp_path: Path) -> None:
    ran = run(tmp_path, "--check", SHARQ_SERVER_TLS_CERTIFICATE=str(FILES / "server.pem"))
    assert "tls_key names the key, if it is elsewhere." in ran.stderr


def test_a_store_that_keeps_little_is_noted_and_stops_nobody(tmp_path: Path) -> None:
    with PrivateStore(**{"maxmemory-policy": "allkeys-lru"}) as store:
        place = {"SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path}
        ran = run(tmp_path, "--check", **place)
    assert ran.returncode == 0
    assert "(maxmemory-policy allkeys-lru)" in ran.stderr
    assert "(appendonly no)" in ran.stderr


def test_a_replica_is_no_store(tmp_path: Path) -> None:
    with (
        PrivateStore(tcp=True) as primary,
        PrivateStore(replicaof=["127.0.0.1", str(primary.port)]) as store,
    ):
        ran = run(tmp_path, "--check", SHARQ_REDIS_UNIX_SOCKET_PATH=store.socket_path)
    assert ran.returncode == 2
    assert "is a replica, and takes no writes. Set host and port to the primary" in ran.stderr


def test_the_embedded_store_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ran = run(tmp_path, "--check", "--data-dir", str(folder))
    assert f"The embedded store in {folder} can be started." in ran.stdout
    assert not folder.exists()
    with Server(tmp_path) as server:  # one that runs is no hindrance
        ran = run(tmp_path, "--check", "--data-dir", str(folder), "--port", str(server.port))
        assert ran.returncode == 0, ran.stderr
        assert f"The embedded store in {folder} runs, process" in ran.stdout
        assert server.call("GET", "/deepstatus/")[0] == 200
    assert EmbeddedStore.check(folder) == 0
    ran = run(tmp_path, "--check", "--data-dir", str(folder))
    assert ran.returncode == 0
    assert not (folder / "store.sock").exists()


def test_an_empty_folder_stays_empty_and_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ran = run(tmp_path, "--check", "--data-dir", str(tmp_path / "data"))
    assert ran.returncode == 0, ran.stderr
    assert os.listdir(tmp_path / "data") == []
    with Server(tmp_path) as server:
        assert server.call("GET", "/deepstatus/")[0] == 200


def test_a_log_that_is_not_whole_is_wrong(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
    log = tmp_path / "data" / "appendonlydir"
    (manifest,) = log.glob("*.manifest")
    (changes,) = log.glob("*.incr.aof")
    kept = manifest.read_bytes()
    for problem, words in (
        (lambda: changes.rename(tmp_path / "kept"), f"lacks {changes.name}"),
        (lambda: manifest.write_bytes(b""), "has an empty manifest"),
        (manifest.unlink, "has no manifest"),
    ):
        problem()
        for arguments in (("--check",), ("--port", "0")):
            ran = run(tmp_path, *arguments, "--data-dir", str(tmp_path / "data"))
            assert ran.returncode == (2 if arguments == ("--check",) else 1)
            assert words in ran.stderr, ran.stderr
        if (tmp_path / "kept").exists():
            (tmp_path / "kept").rename(changes)
        manifest.write_bytes(kept)
    assert run(tmp_path, "--check", "--data-dir", str(tmp_path / "data")).returncode == 0


def test_an_unknown_host_is_told_once(tmp_path: Path) -> None:
    ran = run(tmp_path, "--check", "--host", "no-such-host.invalid")
    assert (ran.returncode, ran.stderr.count("no-such-host.invalid")) == (2, 1)


def test_print_config_tells_every_value_and_its_source(tmp_path: Path) -> None:
    (tmp_path / "sharq.conf").write_text(
        "[sharq-server]\nport = 1\nworkers = 2\nheartbeat = 500\n[redis]\nusername = u\n"
    )
    ran = run(
        tmp_path,
        *("--print-config", "-c", "sharq.conf", "--port", "3"),
        SHARQ_SERVER_PORT="2",
        SHARQ_SERVER_WORKERS="4",
        SHARQ_REDIS_HOST="store.example",
        SHARQ_REDIS_PASSWORD="swordfish",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = dict(re.findall(r"^(\w+ = .*?) +; (.*)$", ran.stdout, re.M))
    assert found["port = 3"] == "command line"
    assert found["workers = 4"] == "environment, SHARQ_SERVER_WORKERS"
    assert found["heartbeat = 500"] == "sharq.conf"
    assert found["username = u"] == "sharq.conf"
    assert found["password = ***"] == "hidden; environment, SHARQ_REDIS_PASSWORD"
    assert found["conn_type = tcp_sock"] == "by other options"
    assert found["appendfsync = always"] == "default"
    assert f"data_dir = {tmp_path}/.local/share/sharq" in found
    assert found[f"data_dir = {tmp_path}/.local/share/sharq"] == "default"
    assert "swordfish" not in ran.stdout
    assert len(re.findall(r"^\w+ =", ran.stdout, re.M)) == len(OPTIONS)


def test_what_print_config_prints_is_a_configuration(tmp_path: Path) -> None:
    given = {
        "SHARQ_SERVER_ALLOWED_HOSTS": "a.example b.example",
        "SHARQ_SERVER_TRUSTED_PROXIES": "10.0.0.0/8 unix",
        "SHARQ_REDIS_URL": "rediss://store.example/7",
    }
    ran = run(tmp_path, "--print-config", **given)
    printed = tmp_path / "printed.conf"
    printed.write_text(ran.stdout.replace("url = ***", "url ="))
    loaded, meant = (
        Settings.load(str(printed)),
        Settings.load(environ=given | {"HOME": str(tmp_path)}),
    )
    assert loaded.server == meant.server
    assert loaded.sharq == meant.sharq
    assert (loaded.redis.host, loaded.redis.db, loaded.redis.tls) == ("store.example", 7, True)


@pytest.fixture(scope="module")
def replicated() -> Iterator[ReplicatedCluster]:
    with ReplicatedCluster(**KEPT) as cluster:
        yield cluster


@pytest.fixture
def nodes(replicated: ReplicatedCluster) -> Iterator[ReplicatedCluster]:
    yield replicated
    replicated.mend()


def check_cluster(folder: Path, port: int, *others: int, more: str = "") -> CompletedProcess[str]:
    named = ", ".join(f"127.0.0.1:{other}" for other in others)
    (folder / "sharq.conf").write_text(
        f"[redis]\nhost = 127.0.0.1\nport = {port}\nclustered = true\n"
        f"cluster_nodes = {named}\n{more}"
    )
    return run(folder, "--check", "-c", "sharq.conf")


def test_any_node_of_a_cluster_is_enough(nodes: ReplicatedCluster, tmp_path: Path) -> None:
    replica = nodes.replica_of(nodes.primary_of("x")).port
    acked = "replicas_acked = 1\n"
    ran = check_cluster(tmp_path, replica, more=acked)
    assert (ran.returncode, ran.stderr) == (0, "")
    ran = check_cluster(tmp_path, 1, replica, more=acked)
    assert (ran.returncode, ran.stderr) == (0, "")
    # Not the seeds are said to work, which need not: it is those that take the writes.
    (told,) = [line for line in ran.stdout.splitlines() if "works" in line]
    assert told.startswith("The cluster works, at ")
    primaries = {nodes.primary_of(f"{{sharq_server:{name}}}").port for name in "abcdefghijkl"}
    assert {int(place.rpartition(":")[2]) for place in told.strip(".").split(", ")[1:]} == primaries


def test_a_part_of_a_cluster_stops_no_start(nodes: ReplicatedCluster, tmp_path: Path) -> None:
    primary = nodes.primary_of("x")
    replica = nodes.replica_of(primary)
    seed = next(node for node in nodes.nodes if node not in (primary, replica))
    replica.stop()
    wait_for("it is missed", lambda: primary.client.info()["connected_slaves"] == 0)
    ran = check_cluster(tmp_path, seed.port, more="replicas_acked = 1\n")
    assert ran.returncode == 0
    assert f"127.0.0.1:{primary.port} has fewer replicas (0)" in ran.stderr
    primary.stop()
    ran = check_cluster(tmp_path, seed.port)
    assert ran.returncode == 0
    told = f"The node of the store at 127.0.0.1:{primary.port} does not work: "
    assert [told in line for line in ran.stderr.splitlines()].count(True) == 1


def test_too_few_replicas_stop_no_start(stores: PrivateReplicas, tmp_path: Path) -> None:
    place = stores.primary
    (tmp_path / "sharq.conf").write_text(
        f"[redis]\nhost = {place.host}\nport = {place.port}\nreplicas_acked = 1\n"
    )

    def told() -> list[str]:
        ran = run(tmp_path, "--check", "-c", "sharq.conf")
        assert ran.returncode == 0, ran.stderr
        assert f"The store at {place.host}, port {place.port} works." in ran.stdout
        return [line for line in ran.stderr.splitlines() if "acknowledged" in line]

    assert told() == []
    stores.replica.pause()
    (line,) = told()
    assert f"Too few replicas of the store at {place.host}:{place.port} confirm changes" in line
    stores.replica.resume()
    stores.replica.stop()
    wait_for("it is missed", lambda: place.client.info()["connected_slaves"] == 0)
    (line,) = told()
    assert "has fewer replicas (0) than replicas_acked (1)" in line


def test_a_cluster_without_replicas_stops_no_start(tmp_path: Path) -> None:
    with PrivateCluster(3, **KEPT) as cluster:
        ran = check_cluster(tmp_path, cluster.nodes[0].port, more="replicas_acked = 1\n")
    assert ran.returncode == 0
    assert ran.stderr.count("has fewer replicas (0)") == 1
    assert ran.stderr.count("\n") == 1


def test_a_cluster_of_which_nothing_works_is_wrong(tmp_path: Path) -> None:
    ran = check_cluster(tmp_path, 1, 2)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1


def test_a_node_of_a_cluster_alone_is_no_store(nodes: ReplicatedCluster, tmp_path: Path) -> None:
    for node in nodes.nodes[::3]:
        (tmp_path / "sharq.conf").write_text(f"[redis]\nhost = 127.0.0.1\nport = {node.port}\n")
        ran = run(tmp_path, "--check", "-c", "sharq.conf")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.splitlines() == [
            f"sharq-server: The store at 127.0.0.1:{node.port} is a node of a cluster, and serves a"
            " part of the keys alone. Set clustered = true."
        ]
