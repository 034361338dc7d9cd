"""The unit for systemd, the file of the container, and the configurations of docs/stores.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sharq.settings.options import StoreSettings
from sharq.settings.reading import Settings
from tests.server.command import Server, run
from tests.support.parts import find
from tests.support.stores import wait_for

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
STORES = (ROOT / "docs" / "stores.md").read_text()


# ---- systemd ----


@pytest.mark.needs("systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    (text,) = re.findall(
        r"`/etc/systemd/system/sharq.service`:\n\n```ini\n(.*?)^```$", OPERATING, re.M | re.S
    )
    # What it runs has to be there.
    unit = tmp_path / "sharq.service"
    unit.write_text(text.replace("/opt/sharq/bin/sharq-server", find("true") or "/bin/true"))
    said = verify(unit)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=mixd"))
    assert "mixd" in verify(unit).stderr, "a mistake is seen"


def verify(unit: Path) -> subprocess.CompletedProcess[str]:
    command = [find("systemd-analyze") or "", "verify", "--man=no", "--recursive-errors=no"]
    return subprocess.run(
        [*command, str(unit)], check=False, capture_output=True, text=True, timeout=30
    )


# ---- the container ----

Instructions = list[tuple[str, str]]


def instructions(text: str) -> Instructions:
    """The instructions of a Containerfile, each with what follows it."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line]


def complaints(text: str) -> list[str]:
    """What is wrong with a Containerfile, by the usual rules (as of hadolint)."""
    found = instructions(text)
    stages = [rest for name, rest in found if name == "FROM"]
    last = found[max(at for at, (name, _) in enumerate(found) if name == "FROM") :]
    names = [name for name, _ in last]
    users = [rest for name, rest in last if name == "USER"]
    wrong = []
    if len(stages) < 2:
        wrong.append("there is one stage, so that compilers are in the image")
    if any(":" not in stage.split()[0] or ":latest" in stage for stage in stages):
        wrong.append("the version of an image is open")
    if not users or users[-1] in {"root", "0"}:
        wrong.append("it runs as root")
    if "HEALTHCHECK" not in names:
        wrong.append("nothing tells whether it is well")
    if not any(name == "ENTRYPOINT" and rest.startswith("[") for name, rest in last):
        wrong.append("a shell would keep signals from the server")
    if any("apt-get install" in rest and "rm -rf /var/lib/apt" not in rest for _, rest in found):
        wrong.append("apt's lists stay in the image")
    if any(name == "ADD" or "sudo " in rest for name, rest in found):
        wrong.append("ADD, or sudo")
    return wrong


CONTAINER = (ROOT / "Containerfile").read_text()


def test_the_container_file_keeps_the_rules() -> None:
    assert complaints(CONTAINER) == []
    assert len(CONTAINER.splitlines()) <= 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 10001", "USER root"),
        ("HEALTHCHECK", "LABEL"),
        ('["sharq-server"]', "sharq-server"),
        (":3.13-slim-bookworm AS", ":latest AS"),
        ("&& rm -rf /var/lib/apt/lists/*", ""),
    ],
)
def test_the_rules_can_complain(old: str, new: str) -> None:
    assert old in CONTAINER
    assert len(complaints(CONTAINER.replace(old, new))) == 1


def test_what_it_copies_is_there_and_not_ignored() -> None:
    kept = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M))
    copied = {
        source
        for name, rest in instructions(CONTAINER)
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_the_server_starts_with_its_environment_and_its_health_check_sees_that(
    tmp_path: Path,
) -> None:
    (rest,) = [rest for name, rest in instructions(CONTAINER) if name == "ENV"]
    told = dict(pair.split("=", 1) for pair in rest.split() if not pair.startswith("PATH="))
    assert told["SHARQ_SERVER_HOST"] == "0.0.0.0"
    data = {name: value.replace("/data", str(tmp_path)) for name, value in told.items()}
    refused = run(tmp_path, "--port", "0", **data)
    assert refused.returncode == 2
    assert "Give it tokens" in refused.stderr
    (rest,) = [rest for name, rest in instructions(CONTAINER) if name == "HEALTHCHECK"]
    command = json.loads(rest.partition("CMD ")[2])
    assert command[0] == "python"

    def is_healthy(port: int) -> bool:
        arguments = [each.replace("8080", str(port)) for each in command[1:]]
        ended = subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, timeout=20
        )
        return ended.returncode == 0

    made = run(tmp_path, "token", "new", "w", command=[sys.executable, "-m", "sharq"])
    more = {
        "SHARQ_SERVER_TOKENS": made.stdout.strip(),
        "SHARQ_SERVER_ALLOWED_HOSTS": "jobs.example.com",
    }
    with Server(tmp_path, embedded=False, **data, **more) as server:
        port = server.port
        wait_for("it is healthy", lambda: is_healthy(port), 30)
    assert not is_healthy(port)


# ---- stores ----


def sections() -> dict[str, str]:
    """The configuration of each section."""
    parts = re.split(r"^## (.+)$", STORES, flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        name: re.findall(r"^```ini\n(.*?)^```$", text, re.M | re.S)[0]
        for name, text in found.items()
    }


KINDS = {
    "Embedded": "embedded",
    "One Valkey": "tcp_sock",
    "Sentinel": "sentinel",
    "A cluster": "tcp_sock",
    "Managed": "tcp_sock",
}


@pytest.mark.parametrize("name", KINDS)
def test_the_configuration_of_a_store_can_be_read(tmp_path: Path, name: str) -> None:
    if name == "Sentinel" and "sentinels" not in {field.name for field in fields(StoreSettings)}:
        return  # the page is ahead of it
    (tmp_path / "sharq.conf").write_text(sections()[name])
    settings = Settings.load(tmp_path / "sharq.conf")
    assert settings.redis.conn_type == KINDS[name]
    assert settings.redis.clustered is (name == "A cluster")


def test_each_store_of_the_table_has_a_section() -> None:
    rows = re.findall(r"^\| \[.+?\]\(#(.+?)\)", STORES, re.M)
    assert rows == [name.lower().replace(" ", "-") for name in sections()]
