"""Rules, dashboard and manual speak of metrics that exist, and the rules fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.insight.metric_names import BY_NAME, METRICS, SAMPLES

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
MANUAL = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
RULES = (FOLDER / "payctl.rules.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
UNIT_TESTS = "".join(path.read_text() for path in sorted(FOLDER.glob("*.test.yml")))

ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES, re.MULTILINE)
RECORDED = set(re.findall(r"^ +- record: ([\w:]+)$", RULES, re.MULTILINE))
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


def rule_expressions() -> list[str]:
    """What stands after each ``expr:``, on its line or in the block below it."""
    found = []
    for match in re.finditer(r"^( +)expr: (\|\n((?:\1  .*\n)+)|.*\n)", RULES, re.MULTILINE):
        found.append((match[3] or match[2]).strip())
    return found


def dashboard_expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))
        yield from dashboard_expressions(panel.get("panels", []))
    for variable in DASHBOARD["templating"]["list"]:
        yield from re.findall(r"label_values\((\w+),", str(variable["query"]))


def names(expression: str) -> set[str]:
    """The names of the series an expression reads."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    words = re.findall(r"(?<![\w:.])([A-Za-z_:][\w:]*)(?!\w)(\s*\()?", text)
    return {word for word, call in words if not call and word.lower() not in _WORDS}


def test_names_are_found_in_expressions() -> None:
    text = (
        'histogram_quantile(0.95, sum by (le) (rate(a_b{x=~"c.*"}[5m]))) > 2 and on (p) d:e_1 == 0'
    )
    assert names(text) == {"a_b", "d:e_1"}


@pytest.mark.parametrize("where", ["rules", "dashboard"])
def test_every_metric_that_is_asked_for_exists(where: str) -> None:
    expressions = rule_expressions() if where == "rules" else [
        *dashboard_expressions(DASHBOARD["panels"])
    ]  # fmt: skip
    assert len(expressions) > 25
    used = set().union(*map(names, expressions))
    assert used - SAMPLES - RECORDED == set()
    assert len(used & SAMPLES) > 15


def test_every_label_that_is_asked_for_exists() -> None:
    """Of the metric it is asked of; in the rules' ``by`` too, where the metrics agree."""
    for expression in [*rule_expressions(), *dashboard_expressions(DASHBOARD["panels"])]:
        for name, inside in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
            metric = BY_NAME.get(name) or BY_NAME[re.sub(r"_(bucket|sum|count)$", "", name)]
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", inside))
            assert asked <= {*metric.labels, "le"}, expression


def test_the_dashboard_shows_every_metric_but_the_dates() -> None:
    """What is counted and never looked at is a cost without a use."""
    shown = set().union(*map(names, dashboard_expressions(DASHBOARD["panels"])))
    shown |= set().union(*map(names, rule_expressions()))
    unseen = {metric.name for metric in METRICS if not shown & set(metric.samples)}
    assert unseen == {"payctl_build_info"}


def test_every_alert_is_tested_says_what_to_do_and_is_explained() -> None:
    assert len(ALERTS) == len(set(ALERTS)) > 20
    assert (
        RULES.count("summary:") == RULES.count("action:") == RULES.count("severity:") == len(ALERTS)
    )
    for alert in ALERTS:
        assert f'alertname="{alert}", alertstate="firing", severity=' in UNIT_TESTS, alert
        assert f"`{alert}`" in MANUAL, alert


def test_the_manual_names_every_metric_with_its_labels() -> None:
    for metric in METRICS:
        [line] = [line for line in MANUAL.splitlines() if f"| `{metric.name}` |" in line]
        assert [f"`{label}`" for label in metric.labels] == re.findall(
            r"`\w+`", line.split("|")[2]
        ), line
    named = set(re.findall(r"`((?:payctl|payment)_\w+)`", MANUAL))
    assert named - {"payment_sync"} <= SAMPLES | set(BY_NAME), "a job is no metric"


def _tool(name: str, *words: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([name, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid_and_their_unit_tests_pass() -> None:
    _tool("promtool", "test", "rules", "payctl.rules.test.yml", "payctl.rules.days.test.yml")


def test_prometheus_accepts_its_configuration() -> None:
    _tool("promtool", "check", "config", "prometheus.yml")


def test_alertmanager_accepts_its_configuration() -> None:
    _tool("amtool", "check-config", "alertmanager.yml")
