"""A problem as a page tells it: a title in the reader's language, and what the service says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from estampa.serve.pages.words import Words
from estampa.serve.problems import Problem


class Stated(Problem):
    """A problem that a page states in the reader's language.

    `title`: "" = that of its kind; `fields`: name of a field of the form -> what is wrong with it.
    """

    def __init__(self, kind: str, detail: str, title: str = "", fields: Mapping[str, str] | None = None) -> None:
        super().__init__(kind, detail)
        self.title, self.fields = title, dict(fields or {})


@dataclass(frozen=True)
class Fault:
    """`translated`: the detail is in the reader's language, not in the API's English."""

    title: str
    detail: str
    status: int
    translated: bool
    request_id: str
    fields: dict[str, str] = field(default_factory=dict)


def fault_of(t: Words, problem: Problem, request_id: str) -> Fault:
    """What a page says of a problem."""
    title = t(f"problem.kind.{problem.kind}")
    if isinstance(problem, Stated):
        return Fault(problem.title or title, problem.detail, problem.status, True, request_id, problem.fields)
    if problem.kind == "not-found":
        return Fault(title, t("problem.not_found_cure"), problem.status, True, request_id)
    return Fault(title, problem.detail, problem.status, t.language == "en", request_id)
