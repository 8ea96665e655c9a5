"""Classical models of tables: searched on folds, resumed, chosen, fitted; the same seed gives the same model."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import made_tables
from estampa.data.record import Header
from estampa.errors import ContractError, DatasetError, EstampaError, Interrupted, RecipeError
from estampa.progress import Silent
from estampa.recipe import Recipe, read, shipped
from estampa.train import choose_table, classical, randomised
from estampa.train.choose_table import complete_table
from estampa.train.classical import chosen_of, fit_table
from estampa.train.randomised import NAME, Problem, search_table, settings

COLUMNS = ("mag_u", "mag_g", "mag_r", "size")


class Table(SimpleNamespace):
    """What a Dataset of a table gives."""

    def subset(self, order):
        """The same rows with columns in another order."""
        header = SimpleNamespace(**{**vars(self.header), "columns": tuple(self.header.columns[i] for i in order)})
        return Table(**{**vars(self), "table": self.table[:, order], "header": header})


def table(n=240, seed=0, classes=2, uneven=False, **more):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.15).astype(np.int64) if uneven else np.arange(n) % classes
    values = rng.normal(18, 0.5, (n, 4)) + labels[:, None] * [0, 0.8, -0.4, 0]
    values[rng.integers(0, n, 3), 0] = -9999
    names = tuple("abcdef"[:classes])
    header = SimpleNamespace(columns=COLUMNS, column_units=(), roles=(), origin={"path": "made"})
    facts = {"table": values, "labels": labels, "n": n, "classes": names, "task": "classification", "groups": None}
    return Table(**{**facts, "header": header, "content_sha256": "0", **more})


def recipe(**values):
    quick = {"search.methods": ("logistic", "tree", "knn"), "search.trials": 3, "search.folds": 3}
    return Recipe().with_values(quick | {k.replace("__", "."): v for k, v in values.items()})


def fit(data, made=None, folder=None, train=None, validation=None, progress=None):
    rows = np.arange(data.n)
    train = rows[: int(0.8 * data.n)] if train is None else train
    validation = rows[len(train) :] if validation is None else validation
    more = {} if progress is None else {"progress": progress}
    return fit_table(data, made or recipe(), train_rows=train, validation_rows=validation, folder=folder, **more)


def problem(n=120, **more):
    data = table(n)
    facts = {
        "values": data.table, "columns": COLUMNS, "units": (), "labels": data.labels, "classes": 2,
        "fold": np.arange(n) // 2 % 3, "invalid": "impute", "derive": True,
        "metric": "accuracy", "seed": 0, "threads": 2,
    }  # fmt: skip
    return Problem(**{**facts, **more})


def test_header_of_the_tests_has_what_a_real_one_has():
    assert {"columns", "column_units", "roles", "origin"} <= set(Header.__dataclass_fields__)


def test_a_table_is_learned_and_every_setting_is_kept(tmp_path):
    data = table()
    fitted = fit(data, folder=tmp_path)
    assert fitted.recipe.model.name in ("logistic", "tree", "knn")
    assert len(fitted.trials) == 9
    assert {t["method"] for t in fitted.trials[:3]} == {"logistic", "tree", "knn"}  # in turns
    for trial in fitted.trials:
        assert trial["spread"] == pytest.approx(np.std(trial["folds"], ddof=1), abs=1e-5)
        assert 0 < trial["score"] <= 1
    assert len((tmp_path / NAME).read_text().splitlines()) == 9
    output = fitted.predict(data, np.arange(data.n)[-40:])
    assert output.dtype == np.float32
    assert np.allclose(output.sum(axis=1), 1, atol=1e-6)
    assert (output.argmax(axis=1) == data.labels[-40:]).mean() > 0.75
    assert fitted.parameters > 0
    assert fitted.choice[0]["chosen"]
    assert fitted.choice[0]["method"] == fitted.recipe.model.name
    assert any("Chosen: " in line for line in fitted.decisions)
    assert len(fitted.held.rows) == data.n  # folds and validation part: all are answered by who had not seen them


def test_the_same_seed_gives_the_same_model_and_another_draws_others():
    data = table()
    first, second = fit(data), fit(data)
    assert np.array_equal(first.predict(data), second.predict(data))
    assert [t["values"] for t in first.trials] == [t["values"] for t in second.trials]
    other = fit(data, recipe(train__seed=1))
    assert [t["values"] for t in other.trials] != [t["values"] for t in first.trials]


def test_a_killed_search_goes_on_and_comes_to_the_same(tmp_path):
    data = table()
    whole = fit(data, folder=tmp_path / "whole")
    lines = (tmp_path / "whole" / NAME).read_text().splitlines(keepends=True)
    part = tmp_path / "part"
    part.mkdir()
    (part / NAME).write_text("".join(lines[:4]) + lines[4][:30])  # killed while it wrote the fifth
    again = fit(data, folder=part)
    plain = [{k: v for k, v in t.items() if k != "seconds"} for t in whole.trials]
    assert [{k: v for k, v in t.items() if k != "seconds"} for t in again.trials] == plain
    assert [t["seconds"] for t in again.trials[:4]] == [t["seconds"] for t in whole.trials[:4]]  # not done anew
    assert np.array_equal(again.predict(data), whole.predict(data))
    assert np.array_equal(again.held.output, whole.held.output)
    assert again.recipe == whole.recipe


def test_settings_of_other_data_are_not_taken_for_ours(tmp_path):
    fit(table(), folder=tmp_path)
    said = []

    class Listener(Silent):
        def warn(self, line):
            said.append(line)

    fitted = fit(table(seed=1), folder=tmp_path, progress=Listener())
    assert "belong to another recipe or other data" in said[0]
    assert len((tmp_path / NAME).read_text().splitlines()) == len(fitted.trials)


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch):
    data, original, count = table(), randomised.held_out, []

    def stopping(*given):
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(randomised, "held_out", stopping)
    with pytest.raises(Interrupted, match="goes on with it"):
        fit(data, folder=tmp_path)
    assert len((tmp_path / NAME).read_text().splitlines()) == 3
    monkeypatch.undo()
    assert np.array_equal(fit(data, folder=tmp_path).predict(data), fit(data).predict(data))


def test_a_time_limit_still_tries_every_method():
    fitted = fit(table(), recipe(train__time_limit=1e-6, search__trials=20))
    assert [t["method"] for t in fitted.trials] == ["logistic", "tree", "knn"]
    assert "time limit" in fitted.stopped


def test_the_written_back_recipe_fits_the_same_model_without_a_search():
    data = table()
    first = fit(data)
    again = fit(data, first.recipe)
    assert not again.trials
    assert np.array_equal(first.predict(data), again.predict(data))
    assert again.recipe == first.recipe
    assert set(first.recipe.model.options) >= {"strength"} or first.recipe.model.name != "logistic"


def test_one_model_can_be_fitted_or_searched_alone():
    data = table()
    fitted = fit(data, Recipe().with_values({"model.name": "tree", "model.depth": 2}))
    assert fitted.estimator.get_depth() == 2
    assert fitted.trials == []
    assert fitted.held is None
    searched = fit(data, Recipe().with_values({"model.name": "tree", "search.trials": 4, "search.folds": 2}))
    assert {t["method"] for t in searched.trials} == {"tree"}


def test_the_simplest_method_as_good_as_the_best_is_chosen():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)

    def answers(wrong):
        said = truth.copy()
        said[wrong] = 1 - said[wrong]
        return np.eye(2)[said]

    good, near, bad = answers(np.arange(20)), answers(np.arange(18, 40)), answers(np.arange(100))
    method, rows = chosen_of({"forest": good, "tree": near, "logistic": bad}, truth, "accuracy")
    assert method == "tree"  # simpler than the forest and within the interval; logistic regression is simpler and worse
    assert [r["method"] for r in rows] == ["tree", "forest", "logistic"]
    assert rows[0]["difference"]["low"] < 0 < rows[0]["difference"]["high"]
    assert not rows[2]["as_good"]
    assert "simplest within the interval of the best, forest" in rows[0]["sentence"]
    method, rows = chosen_of({"forest": good, "tree": bad}, truth, "accuracy")
    assert method == "forest"
    method, _ = chosen_of({"boosting": good, "logistic": bad}, truth, "log_loss")
    assert method == "boosting"


def test_unlabelled_rows_and_the_validation_part_are_not_learned_from():
    data = table()
    rows = np.arange(data.n)
    hidden = table(labels=np.where(rows < 60, -1, data.labels))
    assert np.array_equal(
        fit(hidden, train=rows[:180]).predict(data), fit(data, train=rows[60:180], validation=rows[180:]).predict(data)
    )
    assert not np.array_equal(fit(data, train=rows[:180]).predict(data), fit(data, train=rows[:120]).predict(data))


def test_groups_are_whole_in_every_fold(monkeypatch):
    data, seen = table(groups=np.array([f"g{i // 4}" for i in range(240)])), []
    monkeypatch.setattr(classical, "search_table", lambda p, *a, **k: seen.append(p) or search_table(p, *a, **k))
    fit(data)
    fold, groups = seen[0].fold, data.groups[: len(seen[0].fold)]
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))


def test_large_tables_are_searched_on_a_part_and_learned_whole(monkeypatch):
    monkeypatch.setattr(classical, "MOST_ROWS", 100)
    data = table(600)
    fitted = fit(data, recipe(search__methods=("knn",)))
    assert any("The search uses" in line and "of 480" in line for line in fitted.decisions)
    assert len(fitted.estimator._fit_X) == 480


def test_unequal_classes_are_ranked_by_macro_f1_and_few_objects_get_fewer_folds():
    plan = complete_table(recipe(search__folds=10), table(40, uneven=True))
    assert plan.metric == "macro_f1"
    assert plan.folds < 10
    assert any("folds in place of 10" in line for line in plan.decisions)
    assert complete_table(recipe(), table()).metric == "accuracy"


def test_slow_methods_and_large_tables_get_fewer_settings():
    small, large = complete_table(read("tables"), table(400)), complete_table(read("tables"), table(9000))
    assert list(small.counts) == ["logistic", "tree", "knn", "forest", "boosting"]
    assert large.counts["forest"] < large.counts["knn"]
    assert large.counts["forest"] < small.counts["forest"]
    assert min(large.counts.values()) >= choose_table.LEAST_SETTINGS


def test_no_recipe_is_the_recipe_of_tables():
    plan = complete_table(Recipe().with_values({"data.without": ("size",)}), table())
    assert plan.recipe.search.methods == read("tables").search.methods
    assert plan.columns == COLUMNS[:3]
    assert "Recipe 'tables'" in plan.decisions[0]
    for name in shipped():
        if name.startswith("photometry-"):
            assert read(name).prepare.invalid == "drop"
            assert complete_table(read(name), table()).searches


def test_dropping_leaves_failed_rows_out_or_says_that_one_class_is_left():
    data = table()
    fitted = fit(data, recipe(prepare__invalid="drop"))
    assert any("have a failed measurement: dropped" in line for line in fitted.decisions)
    assert not any(name.startswith("missing:") for name in fitted.preparation.names)
    broken = table()
    broken.table[broken.labels == 1, 1] = -9999
    with pytest.raises(DatasetError, match=r"one class is left.*impute"):
        fit(broken, recipe(prepare__invalid="drop"))


def test_columns_are_found_by_name_in_any_order_and_a_missing_one_is_named():
    data = table()
    fitted = fit(data)
    assert np.array_equal(fitted.predict(data.subset([3, 1, 0, 2])), fitted.predict(data))
    with pytest.raises(ContractError, match=r"lacks the column 'mag_r'"):
        fitted.predict(data.subset([0, 1, 3]))


def test_a_temperature_changes_how_sure_and_not_what():
    data = table()
    fitted = fit(data)
    plain = fitted.predict(data)
    fitted.temperature = 3.0
    flat = fitted.predict(data)
    assert np.array_equal(plain.argmax(axis=1), flat.argmax(axis=1))
    assert flat.max(axis=1).mean() < plain.max(axis=1).mean()
    logits, rows, said = fitted.unseen(data, np.arange(data.n)[-48:])
    assert len(logits) == len(rows) == data.n
    assert "held out in folds" in said or "folds" in said


@pytest.mark.parametrize(
    ("change", "made", "message"),
    [
        ({"task": "regression"}, {}, "regression on a table is not offered"),
        ({"task": "unlabelled"}, {}, "--label"),
        ({"labels": np.zeros(240, int)}, {}, "1 class among"),
        ({}, {"data__shape": (21, 21, 4)}, "made for pictures"),
        ({}, {"search__methods": ("forrest",)}, r"no model 'forrest'.*forest"),
        ({}, {"search__methods": (), "model__name": "convnet"}, "no model 'convnet' for a table"),
        ({}, {"data__features": ("mag_y",)}, "has no column 'mag_y'"),
    ],
)
def test_what_cannot_be_learned_is_said(change, made, message):
    with pytest.raises((DatasetError, RecipeError), match=message):
        fit(table(**change), recipe(**made))


def test_settings_are_distinct_drawn_by_the_seed_and_take_fixed_values():
    counts = {"logistic": 6, "forest": 4}
    first = settings(counts, 0)
    assert first == settings(counts, 0) != settings(counts, 1)
    assert [s.method for s in first[:4]] == ["logistic", "forest"] * 2
    assert len({json.dumps([s.method, s.values], sort_keys=True) for s in first}) == 10
    assert {s.values["trees"] for s in settings(counts, 0, {"trees": 7}) if s.method == "forest"} == {7}
    assert {s.values["degree"] for s in settings(counts, 0, columns=500) if s.method == "logistic"} == {1}
    # One method's settings are the same whichever others are asked for.
    assert [s.values for s in first if s.method == "forest"] == [s.values for s in settings({"forest": 4}, 0)]


def test_a_setting_that_fails_is_listed_and_all_failing_is_an_error(monkeypatch):
    original = randomised.held_out

    def failing(given, setting):
        if setting.method == "knn":
            raise ValueError("no neighbours")
        return original(given, setting)

    monkeypatch.setattr(randomised, "held_out", failing)
    found = search_table(problem(), settings({"tree": 1, "knn": 1}, 0), None)
    assert [t.error for t in found.trials] == ["", "no neighbours"]
    with pytest.raises(EstampaError, match="every setting failed"):
        search_table(problem(), settings({"knn": 2}, 0), None)


def test_the_preparation_is_fitted_in_each_fold_on_what_is_learned():
    made = problem()
    made.values[made.fold == 0, 3] = 1e6
    learn, held, x, y = made.part(0)
    assert set(learn) | set(held) == set(range(120))
    assert not set(learn) & set(held)
    assert np.abs(x).max() < 10 < np.abs(y).max()  # the wild rows have not set the scale


def test_a_search_of_more_methods_takes_over_trials_under_its_own_numbers(tmp_path):
    quick = {"search__trials": 1}
    fit(table(), recipe(search__methods=("logistic", "knn"), **quick), folder=tmp_path)
    taken = fit(table(), recipe(search__methods=("logistic", "tree", "knn"), **quick), folder=tmp_path)
    fresh = fit(table(), recipe(search__methods=("logistic", "tree", "knn"), **quick))
    assert [t["number"] for t in taken.trials] == [1, 2, 3]
    assert [(c["method"], c["score"]) for c in taken.choice] == [(c["method"], c["score"]) for c in fresh.choice]


def test_damaged_lines_of_an_earlier_search_are_tried_anew(tmp_path):
    data = table()
    whole = fit(data, folder=tmp_path)
    lines = (tmp_path / NAME).read_text().splitlines()
    lines[2], lines[4], lines[6] = "\ufffd{", "[1]", lines[6].replace('"folds"', '"fold"')
    (tmp_path / NAME).write_text("\n".join(lines) + "\n")
    assert np.array_equal(fit(data, folder=tmp_path).predict(data), whole.predict(data))
    assert len((tmp_path / NAME).read_text().splitlines()) == len(whole.trials)


def test_threads_of_other_work_are_as_before_after_folds_side_by_side():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        return [i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas()
        for setting in settings({"logistic": 3, "tree": 6}, 0):
            randomised.held_out(problem(threads=3), setting)
        assert blas() == before


def test_a_value_that_marks_failures_of_this_table_alone_is_known_to_a_model_that_drops():
    data = table()
    data.table[10:40:5, 3] = -32768
    fitted = fit(data, recipe(prepare__invalid="drop", search__methods=("tree",)))
    assert any(rule.kind == "spike" for rule in fitted.preparation.rules)
    row = np.array([[18.0, 18.0, 18.0, -32768.0]])
    assert not fitted.preparation.usable(row)[0]
    learned = np.setdiff1d(np.arange(192), np.flatnonzero((data.table[:192] < -1000).any(axis=1)))
    assert fitted.estimator.tree_.n_node_samples[0] == len(learned)


def test_copies_of_an_object_are_in_one_fold(tmp_path, monkeypatch):
    values, labels = made_tables.galaxies(120, failed=0.0)
    data = made_tables.dataset(tmp_path / "set.h5", np.repeat(values, 2, axis=0), np.repeat(labels, 2))
    seen = []
    monkeypatch.setattr(classical, "search_table", lambda p, *a, **k: seen.append(p) or search_table(p, *a, **k))
    rows = np.arange(240)
    fit_table(data, recipe(search__methods=("knn",)), train_rows=rows, validation_rows=rows[:0])
    fold = seen[0].fold
    assert np.array_equal(fold[::2], fold[1::2])
    assert len(set(fold.tolist())) == 3
