"""schemathesis over the service's own description: what it says is what is answered, and never a fault of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import Running, running, words_of

import made_tables
from made_bundles import make

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
NAMES = ("", "grey", "table")
EXAMPLES = 100  #: of each operation, in each mode


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("schema")
    grey, table = make(folder / "grey"), made_tables.make(folder / "table" / "model", n=200)
    files = ("--log", str(folder / "log.jsonl"), "--feedback", str(folder / "labels.jsonl"))
    with running(*words_of(grey=grey, table=table), *files, folder=folder) as one:
        yield one


def test_what_is_described_is_what_is_answered(service: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}openapi.json")
    counts: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(operation.as_strategy(), st.sampled_from(NAMES))
        def run(case: Any, name: str) -> None:
            if name:  # a name made up by chance is none that is served
                case.query = {**(case.query or {}), "model": name}
            answer = case.call()
            counts[f"{case.method} {case.path} {answer.status_code}"] += 1
            case.validate_response(answer, checks=CHECKS)

        run()
        body = operation.definition.raw.get("requestBody", {"content": {}})
        for name, shown in body["content"].get("application/json", {}).get("examples", {}).items():
            case = operation.Case(body=shown["value"], query={"model": name}, media_type="application/json")
            answer = case.call()
            assert answer.status_code == 200, name
            counts[f"{case.method} {case.path} 200"] += 1
            case.validate_response(answer, checks=CHECKS)
    total = sum(counts.values())
    print(f"{total} cases:", ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    assert total > 2 * EXAMPLES
    assert counts["POST /v1/predict 200"] >= 2
    assert counts["POST /classify 200"] >= 2
    assert counts["POST /v1/feedback 200"] >= 2
    assert not [name for name in counts if name.endswith(" 500")]
    assert not [line for line in service.lines() if line["level"] == "error"]
