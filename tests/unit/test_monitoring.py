"""docs/monitoring: the dashboard and the rules can be read, and name metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sharq_server.telemetry import catalogue, fields
from sharq_server.telemetry.catalogue import HISTOGRAM
from tests.support.parts import find

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]

LABELS = {
    series: {*metric.labels, "le"}
    for metric in catalogue.METRICS
    for series in (
        [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
        if metric.kind == HISTOGRAM
        else [metric.name]
    )
}
VALUES = {
    "state": {"waiting", "delayed", "active", "dead", "ready", "held"},
    "reason": {*fields.REQUEUED.values, *fields.DEAD.values},
}


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in DASHBOARD["templating"]["list"]:
        if "definition" in variable:
            yield variable["definition"]
    yield from (alert["expr"] for alert in ALERTS)


def unknown(expression: str) -> list[str]:
    """What an expression names that there is not: metrics, their labels, values of labels."""
    found = [name for name in re.findall(r"\bsharq_\w+", expression) if name not in LABELS]
    for name, selectors in re.findall(r"\b(sharq_\w+)\{(.*?)\}", expression):
        for label, value in re.findall(r'(\w+)=~?"(.*?)"', selectors):
            if label not in LABELS.get(name, ()):
                found.append(f"{name}.{label}")
            if label in VALUES and value not in VALUES[label]:
                found.append(f"{label}={value}")
    named = {name for name in re.findall(r"\bsharq_\w+", expression) if name in LABELS}
    known = {"instance", "job"}.union(*(LABELS[name] for name in named))
    for labels in re.findall(r"\b(?:by|on) \((.*?)\)", expression):
        found += [label for label in labels.split(", ") if label not in known]
    return found


def test_every_expression_names_what_there_is() -> None:
    all_of_them = list(expressions())
    assert len(all_of_them) > 25
    assert [(each, unknown(each)) for each in all_of_them if unknown(each)] == []


@pytest.mark.parametrize(
    "expression",
    [
        "rate(sharq_jobs_lost_total[5m])",
        'sharq_jobs{status="dead"}',
        'sharq_jobs{state="gone"}',
        "sum by (queue_id) (sharq_jobs)",
        "sharq_dispatch_delay_seconds",
    ],
)
def test_an_expression_that_names_something_else_is_seen(expression: str) -> None:
    assert unknown(expression)


def test_each_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expressions())
    assert [metric.name for metric in catalogue.METRICS if metric.name not in shown] == []


def test_legends_and_texts_name_labels_of_their_expressions() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            kept = re.findall(r"by \((.*?)\)", target["expr"])
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert labels <= {label for each in kept for label in each.split(", ")}, panel["title"]
    for alert in ALERTS:
        texts = " ".join(alert["annotations"].values())
        labels = set(re.findall(r"\$labels\.(\w+)", texts))
        kept = re.findall(r"by \((.*?)\)", alert["expr"])
        assert labels <= {label for each in kept for label in each.split(", ")}, alert["alert"]


def test_panels_do_not_lie_on_each_other_and_are_told_apart() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        places = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not places & taken, panel["title"]
        taken |= places


def test_there_are_the_alerts_that_an_operator_needs() -> None:
    names = {alert["alert"] for alert in ALERTS}
    assert {
        "SharQNoWorkers",
        "SharQDeadLettersGrow",
        "SharQSweepTooOld",
        "SharQStoreDown",
        "SharQEarlyDispatch",
    } <= names
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= alert["annotations"].keys()


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_promtool_accepts_the_rules(arguments: tuple[str, ...]) -> None:
    promtool = find("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, *arguments], check=False, cwd=FOLDER, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
