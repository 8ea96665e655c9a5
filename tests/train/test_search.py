"""The search: validation only, every trial listed, resumable."""

import json

import numpy as np
import pytest
from made import bars, halves, recipe

from estampa.errors import EstampaError, InputError, Interrupted, RecipeError, StorageError
from estampa.recipe import Recipe, SearchRecipe
from estampa.train import search as searching
from estampa.train.choose import complete
from estampa.train.fit import fit_net
from estampa.train.search import NAME, full_key, search, settings


def searched(trials=None, **values):
    values = {k.replace("__", "."): v for k, v in values.items()}
    return recipe().model_copy(update={"search": SearchRecipe(values=values, trials=trials)})


def run(made, folder, data=None, fit=fit_net, **more):
    data = data or bars()
    train, validation = halves(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "fit_net", fit)
        return search(data, made, folder, train_rows=train, validation_rows=validation, **more)


def test_the_grid_is_whole_and_in_order():
    made = searched(widths=[4, 8], train__rate=[0.1, 0.01])
    assert settings(made) == [{"model.widths": w, "train.rate": r} for w in (4, 8) for r in (0.1, 0.01)]


def test_random_trials_are_distinct_seeded_and_of_the_grid():
    made = searched(7, widths=list(range(1, 20)), rate=[0.1, 0.01])
    drawn = settings(made)
    assert drawn == settings(made)
    assert len({json.dumps(s) for s in drawn}) == 7
    grid = settings(searched(widths=list(range(1, 20)), rate=[0.1, 0.01]))
    assert all(s in grid for s in drawn)


def test_keys_are_found_by_their_own_name_or_refused():
    assert full_key("widths", recipe()) == "model.widths"
    assert full_key("rate", recipe()) == "train.rate"
    with pytest.raises(RecipeError, match=r"unknown key 'model.witdhs'.*model.widths"):
        full_key("model.witdhs", recipe())
    with pytest.raises(RecipeError, match=r"nothing to search.*--search widths"):
        settings(recipe())
    with pytest.raises(RecipeError, match="no values to try"):
        settings(searched(widths=[]))


def test_every_trial_is_listed_and_the_best_one_is_the_recipe(tmp_path):
    data = bars(240)
    found = run(searched(rate=[1e-6, 0.01], widths=[3, 8]), tmp_path, data)
    assert len(found.trials) == found.planned == 4
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert len(lines) == 4
    assert found.winner.score == max(line["score"] for line in lines)
    assert found.best.train.rate == 0.01
    assert found.best.search.values == {}
    train, validation = halves(data)
    again = fit_net(data, found.best, train_rows=train, validation_rows=validation)
    assert again.history[-1]["validation_accuracy"] == pytest.approx(found.winner.score)
    assert "4 settings tried" in found.sentence
    assert found.to_json()["best"] == found.winner.values
    assert found._repr_html_().count("<tr>") == 5


def test_only_the_parts_given_are_touched(tmp_path, monkeypatch):
    seen = []

    def fit(data, made, **rows):
        seen.append(np.concatenate([rows["train_rows"], rows["validation_rows"]]))
        return fit_net(data, made, **rows)

    monkeypatch.setattr(searching, "fit_net", fit)
    search(bars(), searched(widths=[3, 4]), tmp_path, train_rows=np.arange(80), validation_rows=np.arange(80, 110))
    assert all(rows.max() < 110 for rows in seen)


def test_a_killed_search_goes_on(tmp_path):
    made, count = searched(widths=[3, 4, 5]), []

    def fit(*arguments, **more):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return fit_net(*arguments, **more)

    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, fit=fit)
    with (tmp_path / NAME).open("a") as stream:
        stream.write('{"search": "cut sh')
    found = run(made, tmp_path, fit=fit)
    assert len(count) == 4
    assert len(found.trials) == 3
    assert len((tmp_path / NAME).read_text().splitlines()) == 3


def test_a_setting_that_cannot_be_is_listed_with_its_error(tmp_path):
    found = run(searched(model__kernel=[3, 30]), tmp_path)
    assert found.trials[-1].score is None
    assert "nothing is left of a picture" in found.trials[-1].error
    with pytest.raises(EstampaError, match="every trial failed"):
        run(searched(model__kernel=[30, 31]), tmp_path)


def test_a_time_limit_ends_between_trials(tmp_path):
    found = run(searched(widths=[3, 4, 5]), tmp_path, time_limit=1e-9 + 0.0, fit=_slow)
    assert len(found.trials) >= 1
    assert "time limit" in found.stopped


def _slow(*arguments, **more):
    import time

    time.sleep(0.01)
    return fit_net(*arguments, **more)


def test_no_validation_part_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"needs a validation part.*--validation"):
        search(
            bars(), searched(widths=[3]), tmp_path, train_rows=np.arange(9), validation_rows=np.zeros(0, int)
        )  # fmt: skip


DIVERGED = EstampaError("the loss is nan in epoch 1, step 3", where="training")


def test_a_trial_that_diverges_is_listed_and_the_search_goes_on(tmp_path):
    tried = []

    def fit(data, made, **rows):
        tried.append(made.train.rate)
        if made.train.rate == 9:
            raise DIVERGED
        return fit_net(data, made, **rows)

    for _ in range(2):  # the second time from the file
        found = run(searched(rate=[9, 0.01]), tmp_path, fit=fit)
        assert tried == [9, 0.01]
        assert found.best.train.rate == 0.01
        assert found.trials[-1].score is None
        assert "the loss is nan" in found.trials[-1].error


@pytest.mark.parametrize("error", [StorageError("disk full"), Interrupted("stopped")])
def test_what_is_not_the_settings_fault_ends_the_search(tmp_path, error):
    def fit(*_, **__):
        raise error

    with pytest.raises(type(error)):
        run(searched(rate=[0.01]), tmp_path, fit=fit)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("named", [True, False])
def test_steps_and_batch_decide_the_epochs_of_a_trial(tmp_path, named):
    values = {"train.steps": [60, 240], "train.batch": [16, 30]}
    asked = (recipe() if named else Recipe(name="auto")).with_values({"train.epochs": "auto", "search.values": values})
    data, epochs = bars(), {}

    def fit(data, made, **rows):
        made, _ = complete(made, data, rows["train_rows"])
        epochs[made.train.steps, made.train.batch] = made.train.epochs
        assert set(made.model.options) >= set(recipe().model.options) or not named
        return fit_net(data, made.with_values({"train.epochs": 1}), **rows)

    whole, _ = complete(asked, data, halves(data)[0])
    found = run(whole, tmp_path, data, fit=fit, asked=asked)
    assert epochs == {(60, 16): 8, (60, 30): 15, (240, 16): 32, (240, 30): 60}
    assert found.best.train.epochs == epochs[found.best.train.steps, found.best.train.batch]
    assert complete(found.best, data, halves(data)[0])[0] == found.best


def test_trials_of_another_recipe_are_neither_taken_nor_kept(tmp_path):
    run(searched(rate=[0.01]), tmp_path)
    old = (tmp_path / NAME).read_text()
    other = searched(rate=[0.01, 0.02]).with_values({"train.batch": 20})
    assert len(run(other, tmp_path).trials) == 2
    lines = (tmp_path / NAME).read_text().splitlines()
    assert len(lines) == 2
    assert old.strip() not in lines
