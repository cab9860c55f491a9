"""What can be said of docker/ and of the systemd unit without Docker: their options, metrics and files are real."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from protoleak.cli.app import application
from tests.paths import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML reads the compose file")
tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "protoleak.json").read_text())
METRIC = re.compile(r"\b((?:protoleak|process)_[a-z_]+)\b")
UNIT = re.compile(r"```ini\n(\[Unit\].*?)```", re.DOTALL)
LONGEST_START = 600  # seconds: plans that are built at the first start


def instructions(path: Path) -> list[tuple[str, str]]:
    """Keyword and text of each instruction of a Dockerfile, in order."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(keyword, text.strip()) for keyword, _, text in found]


def of(path: Path, keyword: str) -> list[str]:
    return [text for found, text in instructions(path) if found == keyword]


def check_command(words: list[str]) -> None:
    """A command line of ours whose options exist."""
    command = get_command(application()).commands[words[0]]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words[1:] if word.startswith("--") and word.split("=")[0] not in options]
    assert not unknown, f"protoleak {' '.join(words)}"


def named(file: Path) -> str:
    return file.name


@pytest.mark.parametrize("file", DOCKERFILES, ids=named)
def test_an_image_serves_with_options_that_exist(file: Path) -> None:
    (entry,) = of(file, "ENTRYPOINT")
    (command,) = of(file, "CMD")
    words = [*json.loads(entry), *json.loads(command)]
    assert words[:2] == ["protoleak", "serve"]
    check_command(words[1:])
    assert "--token-file" in words  # it listens to others
    for step in of(file, "RUN"):
        for typed in re.findall(r"\bprotoleak (build-plans[^&]*)", step):
            check_command(typed.split())


@pytest.mark.parametrize("file", DOCKERFILES, ids=named)
def test_an_image_runs_as_nobody_in_particular_and_says_whether_it_is_well(file: Path) -> None:
    steps = instructions(file)
    users = [text for keyword, text in steps if keyword == "USER"]
    assert users
    assert "root" not in users
    assert not any(user.startswith("0") for user in users)
    (health,) = of(file, "HEALTHCHECK")
    probe = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+?)'", health)
    assert probe is not None
    assert probe[1] in of(file, "EXPOSE")
    assert probe[2] == "/v1/health/ready"
    start = re.search(r"--start-period=(\d+)s", health)
    assert start is not None
    assert int(start[1]) <= LONGEST_START


@pytest.mark.parametrize("file", [file for file in DOCKERFILES if not file.name.endswith(".cpu")], ids=named)
def test_plans_are_built_in_the_last_step_for_what_is_served(file: Path) -> None:
    steps = instructions(file)
    assert steps[-1][0] == "RUN"
    assert "protoleak build-plans" in steps[-1][1]
    (command,) = of(file, "CMD")
    served = json.loads(command)
    for option in ("--engine", "--batch-maximum"):
        assert f"{option} {served[served.index(option) + 1]}" in steps[-1][1]
    # They are built by the user that loads them, into a folder of its own.
    assert [keyword for keyword, _ in steps].index("USER") < len(steps) - 1
    assert any("-m 700 /var/cache/protoleak" in text for text in of(file, "RUN"))
    assert any("PROTOLEAK_CACHE=/var/cache/protoleak" in text for text in of(file, "ENV"))


@pytest.mark.parametrize("file", DOCKERFILES, ids=named)
def test_an_image_installs_extras_that_exist_from_files_that_are_sent(file: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.findall(r'"\.\[([^"]+)\]"', file.read_text())
    assert asked
    defaults = dict(text.split("=", 1) for text in of(file, "ARG"))
    names = [defaults.get(name.strip("${}"), name) for group in asked for name in group.split(",")]
    assert set(names) <= set(extras)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for text in of(file, "COPY") if not text.startswith("--from") for word in text.split()[:-1]]
    assert copied
    assert set(copied) <= allowed
    assert all((ROOT / name).exists() for name in copied)


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "docker-compose.yml").read_text())
    return loaded


def test_the_composition_names_files_that_exist_and_is_closed_to_others() -> None:
    services = compose()["services"]
    assert set(services) == {"protoleak", "prometheus", "grafana"}
    assert (DOCKER / services["protoleak"]["build"]["context"] / services["protoleak"]["build"]["dockerfile"]).is_file()
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            place = volume.split(":")[0]
            assert place in compose()["volumes"] or (DOCKER / place).exists()
    server = services["protoleak"]
    assert server["read_only"]
    (secret,) = server["secrets"]
    token = json.loads(of(DOCKER / "Dockerfile.cpu", "CMD")[0])
    assert token[token.index("--token-file") + 1] == f"/run/secrets/{secret}"


def test_prometheus_asks_where_the_server_answers() -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == "/v1/metrics"
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in compose()["services"]
    assert [port] == of(DOCKER / "Dockerfile.cpu", "EXPOSE")
    assert all((DOCKER / "prometheus" / name).is_file() for name in config["rule_files"])
    source = yaml.safe_load((DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["datasources"][0]["uid"]}


def expressions() -> Iterator[str]:
    """All that is asked of Prometheus."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["query"]["query"]
    rules = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])


def served_metrics() -> tuple[set[str], dict[str, set[str]]]:
    """Names that /v1/metrics shows, and the labels of each."""
    pytest.importorskip("prometheus_client", reason="it counts: pip install 'protoleak[serve]'")
    from prometheus_client.parser import text_string_to_metric_families

    from protoleak.serving.metrics import Metrics

    metrics = Metrics()
    metrics.build({"bundle": "any"})
    metrics.drift_evidence.labels("any").set(1)
    for counter in (metrics.requests, metrics.images, metrics.rejected, metrics.reloads):
        counter.labels("any").inc()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return set(labels), labels


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_the_server_has() -> None:
    names, labels = served_metrics()
    asked = set()
    for expression in expressions():
        found = METRIC.findall(expression)
        asked.update(found)
        assert set(found) <= names, expression
        known = {"instance", "job", *(label for name in found for label in labels[name])}
        used = re.findall(r"([a-z_]+)\s*(?:=~|!=|=)\s*\"", expression)
        used += [name.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(",")]
        assert set(used) <= known, expression
    # Whatever the server counts of its own is watched somewhere.
    own = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in names if name.startswith("protoleak_")}
    assert own == {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked if name.startswith("protoleak_")}


def test_brackets_of_every_expression_match() -> None:
    for expression in expressions():
        for pair in ("()", "{}", "[]"):
            assert expression.count(pair[0]) == expression.count(pair[1]), expression


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def unit() -> str:
    found = UNIT.search((ROOT / "docs" / "serve.md").read_text())
    assert found is not None
    return found[1]


def test_the_unit_serves_with_options_that_exist() -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit())
    service = parser["Service"]
    words = service["ExecStart"].split()
    assert words[0].endswith("/protoleak")
    check_command(words[1:])
    assert "HUP" in service["ExecReload"]  # loads the bundle anew
    assert service["DynamicUser"] == "yes"
    grace = next(
        parameter for parameter in get_command(application()).commands["serve"].params if parameter.name == "grace"
    )
    assert int(service["TimeoutStopSec"]) > grace.default


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "protoleak.service"
    file.write_text(unit().replace("/opt/protoleak/bin/protoleak", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if "protoleak.service" in line]
    assert not about
