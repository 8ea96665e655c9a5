"""The policy's keys, and the verdict: what asks for watching, what for retraining, and what for neither."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from estampa import page
from estampa.errors import InputError
from estampa.monitor.decide import Facts, anchor, decide, facts_of
from estampa.monitor.figures import Figure, Period, Watch
from estampa.monitor.policy import Policy, parse_policy, read_policy, template
from estampa.monitor.registry import Registry
from estampa.monitor.report import verdict_section
from made_pairs import model

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAN = math.nan


def figure(name: str, kind: str = "input", *, alert: bool = False, value: float = 0.5, half: float = 0.02) -> Figure:
    why = f"{name} is above its range." if alert else ""
    score = 1.4 if alert else 0.2
    return Figure(name, value, value - half, value + half, 0.45, 0.55, kind, alert, why, score)  # type: ignore[arg-type]


def watched(*figures: Figure, n: int = 1000, labelled: int = 0, **more: Any) -> Watch:
    return Watch("0de2d7149222", n, (), figures, 0.01, labelled=labelled, classes=("a", "b"), **more)


def aged(days: float, **more: Any) -> Facts:
    return Facts(NOW, NOW - timedelta(days=days), dated="by its run", **more)


OLD_ENOUGH = aged(100)


def test_in_range_is_kept() -> None:
    verdict = decide(watched(figure("mean"), figure("accuracy", "performance"), labelled=500), Policy(), OLD_ENOUGH)
    assert verdict.kind == "keep"
    assert verdict.reasons[0].text == "all 2 watched figures of 1,000 objects are in their ranges."
    assert verdict.next == ()


@pytest.mark.parametrize("kind", ["input", "embedding", "output", "flags", "estimate"])
def test_drift_without_labels_asks_for_watching(kind: str) -> None:
    verdict = decide(watched(figure("x", kind, alert=True)), Policy(), OLD_ENOUGH, run="runs/a")
    assert verdict.kind == "watch"
    assert verdict.reasons[0].figure == "x"
    assert verdict.reasons[0].evidence == "0.5 [0.48, 0.52], expected 0.45 to 0.55"
    assert verdict.first == "label 100 objects"
    assert verdict.next == ("estampa monitor runs/a --log LOG --labels FILE",)
    typed = decide(watched(figure("x", kind, alert=True)), Policy(), OLD_ENOUGH, again="estampa monitor a --log l")
    assert typed.lines()[-2:] == ["next     label 100 objects, then", "         estampa monitor a --log l"]


def test_labels_ask_for_retraining_once_there_are_enough() -> None:
    fallen = figure("macro_f1", "performance", alert=True)
    few = decide(watched(fallen, labelled=40), Policy(), OLD_ENOUGH)
    assert few.kind == "watch"
    assert "There are 40 labels, and 100 are needed" in few.reasons[0].text
    enough = decide(watched(figure("mean", alert=True), fallen, labelled=100), Policy(), OLD_ENOUGH, run="runs/a")
    assert enough.kind == "retrain"
    assert [r.effect for r in enough.reasons] == ["retrain", "watch"], "the weightiest first"
    assert enough.next == ("estampa retrain runs/a --data LABELLED -o CHALLENGER",)


def test_a_folder_with_a_blank_in_its_name_can_be_pasted() -> None:
    fallen = watched(figure("macro_f1", "performance", alert=True), labelled=400)
    assert decide(fallen, Policy(), OLD_ENOUGH, run="my runs/a").next[0].startswith("estampa retrain 'my runs/a' ")


def test_the_cool_down_puts_it_off() -> None:
    fallen = watched(figure("macro_f1", "performance", alert=True), labelled=400)
    fresh = decide(fallen, Policy(), aged(100, promoted=NOW - timedelta(days=3)))
    assert fresh.kind == "watch"
    assert "rests until 2026-11-26" in fresh.reasons[0].text
    assert decide(fallen, Policy(), aged(100, promoted=NOW - timedelta(days=8))).kind == "retrain"
    assert decide(fallen, parse_policy({"cooldown": {"days": 0}}), aged(0.1)).kind == "retrain"


def test_an_old_model_is_retrained_with_its_release_named() -> None:
    whole = watched(figure("mean"))
    assert decide(whole, Policy(), aged(364)).kind == "keep"
    verdict = decide(whole, Policy(), aged(400, release="DR7"))
    assert verdict.kind == "retrain"
    assert "400 days old, and 365 are allowed. It rests on data release DR7." in verdict.reasons[0].text
    assert decide(whole, parse_policy({"age": {"days": 0}}), aged(4000)).kind == "keep"
    told = parse_policy({"age": {"trained": date(2024, 1, 1)}})
    assert decide(whole, told, aged(1)).reasons[0].evidence == "trained 2024-01-01, by the policy"
    newer = decide(whole, parse_policy({"age": {"newest_release": "DR17"}}), aged(10, release="DR7"))
    assert newer.kind == "watch"
    assert "newest data release is DR17" in newer.reasons[0].text
    assert decide(whole, Policy(), aged(-3)).kind == "watch", "a clock that went back"


def test_too_few_objects_decide_nothing() -> None:
    verdict = decide(watched(figure("mean", alert=True), n=20), Policy(), OLD_ENOUGH)
    assert verdict.kind == "keep"
    assert "too little was seen to say more: 20 objects, and 50 are needed" in verdict.sentence
    assert "1 object, and" in decide(watched(figure("mean"), n=1), Policy(), OLD_ENOUGH).sentence


def test_own_ranges_and_effects() -> None:
    labels = watched(figure("accuracy", "performance", value=0.90), labelled=500)
    assert decide(labels, parse_policy({"ranges": {"accuracy": {"low": 0.93}}}), OLD_ENOUGH).kind == "retrain"
    within = parse_policy({"ranges": {"accuracy": {"low": 0.91}}})
    assert decide(labels, within, OLD_ENOUGH).kind == "keep", "its interval reaches into the range"
    loud = watched(figure("mean", alert=True))
    assert decide(loud, parse_policy({"ranges": {"mean": {"effect": "ignore"}}}), OLD_ENOUGH).kind == "keep"
    assert decide(loud, parse_policy({"ranges": {"mean": {"high": 0.9}}}), OLD_ENOUGH).kind == "keep"
    assert decide(loud, parse_policy({"effect": {"input": "retrain"}}), OLD_ENOUGH).kind == "retrain"
    unmeasured = decide(watched(figure("mean")), within, OLD_ENOUGH)
    assert unmeasured.kind == "keep"
    assert any("no labels to measure it by" in r.text for r in unmeasured.reasons)
    with pytest.raises(InputError, match=r"no watched figure 'meen'.*Did you mean 'mean'"):
        decide(watched(figure("mean")), parse_policy({"ranges": {"meen": {"low": 0}}}), OLD_ENOUGH)


def test_what_began_in_the_last_period_is_seen() -> None:
    calm = Period("monday", None, None, 500, (figure("mean"),))
    loud = Period("tuesday", None, None, 500, (figure("mean", alert=True),))
    whole = Watch("0de2d7149222", 1000, (calm, loud), (figure("mean"),), 0.01)
    verdict = decide(whole, Policy(), OLD_ENOUGH)
    assert verdict.kind == "watch"
    assert "in the last period (tuesday)" in verdict.reasons[0].text
    past = Watch("0de2d7149222", 1000, (loud, calm), (figure("mean"),), 0.01)
    assert decide(past, Policy(), OLD_ENOUGH).kind == "keep"


def test_many_alarms_are_summed_up() -> None:
    verdict = decide(watched(*(figure(f"m{i}", alert=True) for i in range(30))), Policy(), OLD_ENOUGH)
    assert len(verdict.reasons) == 9
    assert "22 more figures of the kind input" in verdict.reasons[-1].text


def test_a_verdict_can_be_shown() -> None:
    found = watched(figure("g.mean typical", alert=True))
    verdict = decide(found, Policy(), OLD_ENOUGH)
    told = verdict.to_json()
    assert told["kind"] == "watch"
    assert told["reasons"][0]["link"] == anchor("g.mean typical") == "figure-g-mean-typical"
    assert verdict.lines()[0] == "verdict  watch"
    text = page.render("t", verdict.sentence, [verdict_section(verdict, found)], made_by={})
    assert '<a href="#figure-g-mean-typical">' in text
    assert "g.mean typical is above its range." in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[age]\ndais = 3\n", r"unknown key 'age.dais'. Did you mean 'age.days'"),
        ("[agee]\n", r"unknown key 'agee'. Did you mean 'age'"),
        ("[age]\ndays = -1\n", "greater than or equal to 0"),
        ("[effect]\ninput = 'panic'\n", "'effect.input'.*'ignore', 'watch' or 'retrain'.*panic"),
        ("[ranges.accuracy]\nlow = 0.9\nhigh = 0.1\n", "low must not be above high"),
        ("[ranges.accuracy]\n", "needs low, high or effect"),
        ("[ranges.accuracy]\nlow = nan\n", "finite number"),
        ("[ranges.accuracy]\nlo = 0.9\n", "unknown key 'ranges.accuracy.lo'"),
        ("[least]\nlabels = 0\n", "greater than or equal to 1"),
        ("age = \n", "not TOML"),
    ],
)
def test_a_wrong_policy_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"(?s)policy.toml.*{said}"):
        read_policy(path)


def test_a_missing_policy_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(tmp_path / "none.toml")


def test_the_template_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(template())
    assert read_policy(path) == Policy()
    own = parse_policy({"ranges": {"recall[a]": {"low": 0.8}}, "age": {"days": 30}})
    whole = watched(figure("recall[a]"), figure("g.mean typical"))
    path.write_text(template(whole, own))
    assert read_policy(path) == own
    freed = path.read_text().replace("# [ranges", "[ranges").replace("# low", "low").replace("# high", "high")
    path.write_text(freed)
    assert read_policy(path).ranges["g.mean typical"].low == 0.45


def test_what_is_known_of_a_model(tmp_path: Path) -> None:
    bundle = model(tmp_path / "run" / "model", 0.3)
    alone = facts_of(bundle)
    assert alone.dated == "by the time of its files"
    assert alone.trained is not None
    (tmp_path / "run" / "metrics.json").write_text('{"date": "2026-01-02T03:04:05+00:00"}')
    entry = Registry(tmp_path / "registry.jsonl").promote(bundle.folder, why="test")
    facts = facts_of(bundle, entry)
    assert (facts.trained, facts.dated) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "by its run")
    assert facts.promoted == entry.time
    (tmp_path / "run" / "metrics.json").write_text('{"date": "yesterday"}')
    assert facts_of(bundle).dated == "by the time of its files"
