"""What the image is made of: Dockerfile, lock, SBOM, alerts. An image itself is not built here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from estampa.serve.jobs import AT_ONCE, LIFTED, WAITING
from estampa.serve.metrics import Metrics
from estampa.serve.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(r"^(\S+)==(\S+?)(?: ; (.+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
#: What trains, and what a service must do without.
TRAINING = {"torch", "scikit-learn", "scipy", "matplotlib", "onnx", "pandas", "pyarrow", "astropy", "timm"}


def locked(name: str) -> dict[str, str]:
    """Name -> version of a file of the lock, which must hold nothing but pinned releases, hashes and comments."""
    text = (DOCKER / name).read_text()
    bare = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
    assert PINNED.sub("", bare) == ""
    return {canonicalize_name(found[0]): found[1] for found in PINNED.findall(bare)}


def program(name: str) -> str:
    """Its path, beside this Python or on the PATH; the test is skipped where it is not installed."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*words: str | Path) -> None:
    ended = subprocess.run(words, cwd=DOCKER, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_hadolint_finds_nothing() -> None:
    run(program("hadolint"), "--failure-threshold", "style", DOCKER / "Dockerfile")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["serve"]),
        ("build-requirements.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_the_lock_holds_what_the_project_asks_for(name: str, asked: list[str]) -> None:
    pins = locked(name)
    for requirement in map(Requirement, asked):
        found = pins.get(canonicalize_name(requirement.name))
        assert found is not None, f"{requirement.name} is not locked: run `make lock`"
        assert requirement.specifier.contains(found), f"{requirement} is locked at {found}: run `make lock`"
    assert not TRAINING & set(pins)


def test_the_sbom_lists_what_the_lock_pins_for_linux() -> None:
    text = (DOCKER / "sbom.cdx.json").read_text()
    listed = {canonicalize_name(c["name"]): c["version"] for c in json.loads(text)["components"]}
    elsewhere = {"colorama"}  # Windows alone
    assert listed == {name: version for name, version in locked("requirements.txt").items() if name not in elsewhere}
    assert "file:" not in text


def test_the_image_carries_the_version_of_the_project() -> None:
    version = PROJECT["project"]["version"]
    assert f"\nARG VERSION={version}\n" in (DOCKER / "Dockerfile").read_text()
    assert f"${{ESTAMPA_VERSION:-{version}}}" in (DOCKER / "compose.yaml").read_text()


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(line.split()[:-1])
    bundles = {"docker/bundle", "runs/*/model"}
    assert "*" in ignored
    assert let_in == copied - {"${BUNDLE}"} | bundles


def test_the_service_in_the_compose_file_is_shut_in() -> None:
    tree = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for name, service in tree["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    for line in tree["services"]["prometheus"]["volumes"][:2]:
        assert (DOCKER / line.split(":")[0]).is_file()


def test_what_may_be_uploaded_fits_in_the_memory_that_is_the_disk() -> None:
    """Ten jobs, two of them unpacked; the uploads that arrive meanwhile; and a gigabyte for the service itself."""
    service = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["estampa"]
    upload = int(service["environment"]["ESTAMPA_SERVE_MAX_UPLOAD"]) << 20
    arriving = max(16 * Settings.model_fields["max_body"].default, 2 * upload)
    most = (AT_ONCE + WAITING + AT_ONCE * LIFTED) * upload + arriving
    disk = int(re.search(r"size=(\d+)g", service["tmpfs"][0])[1]) << 30  # type: ignore[index]
    assert most <= disk
    assert int(service["mem_limit"].removesuffix("g")) << 30 >= disk + (1 << 30)


def test_alerts_ask_for_metrics_that_there_are() -> None:
    exposed = set(re.findall(r"^# TYPE (\w+)", Metrics().text({}).decode(), re.MULTILINE))
    exposed |= {f"{name}_bucket" for name in exposed}
    rules = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"\bestampa_\w+", rule["expr"])}
    assert len(asked) >= 6
    assert asked <= exposed


def test_alerts_and_their_tests_cover_each_other() -> None:
    rules = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"][0]["rules"]
    names = {rule["alert"] for rule in rules}
    for day in yaml.safe_load((DOCKER / "alerts.test.yml").read_text())["tests"]:
        assert {case["alertname"] for case in day["alert_rule_test"]} == names
    page = (ROOT / "docs" / "serve-ship.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_prometheus_takes_rules_and_settings() -> None:
    promtool = program("promtool")
    run(promtool, "check", "config", "prometheus.yml")
    run(promtool, "test", "rules", "alerts.test.yml")
