"""Training: it learns, one seed gives the same weights, parts are kept apart, the kept epoch is the best one."""

import numpy as np
import pytest
import torch
from made import bars, brightness, halves, recipe, weights

from estampa import measure
from estampa.errors import DatasetError, EstampaError, RecipeError
from estampa.recipe import read
from estampa.train import feed as feeding
from estampa.train.feed import ArraySet, Feed
from estampa.train.fit import fit_net
from estampa.train.loop import Loop


def fit(data, made, **more):
    train, validation = halves(data)
    return fit_net(data, made, train_rows=train, validation_rows=more.pop("validation", validation), **more)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd", "muon"])
def test_every_optimizer_learns(optimizer):
    rate = {"sgd": 0.05, "muon": 0.02}.get(optimizer, 0.01)
    made = recipe(train__optimizer=optimizer, train__rate=rate, train__epochs=12, train__schedule="onecycle")
    fitted = fit(bars(240), made)
    assert fitted.history[-1]["validation_accuracy"] > 0.85
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"] / 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_any_stored_type_learns_and_the_history_is_that_of_the_network(dtype):
    data = bars(240, dtype=dtype)
    fitted = fit(data, recipe(train__epochs=10, train__rate=0.01))
    rows = halves(data)[1]
    output = fitted.predict(data, rows)
    assert output.dtype == np.float32
    assert output.shape == (60, 3)
    last = fitted.history[-1]
    assert measure.accuracy(data.labels[rows], output.argmax(1)) == pytest.approx(last["validation_accuracy"])
    assert measure.log_loss(data.labels[rows], output) == pytest.approx(last["validation_loss"], rel=1e-3)
    np.testing.assert_allclose(fitted.predict(data.images[rows]), output, atol=1e-6)
    assert list(last) == [
        "epoch", "seconds", "rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
    ]  # fmt: skip


def test_the_first_step_is_plain_torch():
    data = bars(16)
    fitted = fit_net(data, recipe(train__epochs=1, prepare__scale="raw", train__rate=0.5, train__optimizer="sgd",
                                  train__momentum=0.0), train_rows=np.arange(16))  # fmt: skip
    torch.manual_seed(0)
    from estampa.train.fit import build_body

    body = build_body(recipe(), (10, 10, 2), 3)
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).float()
    loss = torch.nn.functional.cross_entropy(body(x), torch.from_numpy(data.labels))
    loss.backward()
    assert fitted.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for got, start in zip(fitted.network.body.parameters(), body.parameters(), strict=True):
        torch.testing.assert_close(got, start - 0.5 * start.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", [
    {}, {"prepare__symmetry": "d4", "prepare__shift": 2, "prepare__erase": 0.2, "model__dropout_pool": 0.3},
    {"model": {"name": "picturenet", "widths": 8}, "train__averaging": 0.9, "train__dtype": "bf16"},
    {"prepare__balance": "sampling"},
])  # fmt: skip
def test_one_seed_gives_the_same_weights_twice_and_another_seed_others(changes):
    data, made = bars(), recipe(**changes)
    one = fit(data, made)
    torch.rand(3)  # the caller's own chance plays no part
    assert np.array_equal(weights(one), weights(fit(data, made)))
    assert np.array_equal(weights(one), weights(fit(data, one.recipe)))
    assert not np.array_equal(weights(one), weights(fit(data, made.with_values({"train.seed": 1}))))


def test_the_callers_random_state_and_threads_are_left_alone():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(bars(), recipe(train__epochs=1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_unlabelled_rows_are_left_out():
    data = bars(160)
    more = ArraySet(
        np.concatenate([data.images, np.full((40, 10, 10, 2), 255, np.uint8)]),
        np.concatenate([data.labels, np.full(40, -1)]), "classification", data.classes,
    )  # fmt: skip
    with_them = fit_net(more, recipe(), train_rows=np.arange(200))
    without = fit_net(data, recipe(), train_rows=np.arange(160))
    assert np.array_equal(weights(with_them), weights(without))


def test_the_validation_part_never_reaches_the_weights():
    data = bars()
    assert np.array_equal(weights(fit(data, recipe())), weights(fit(data, recipe(), validation=None)))


def test_a_watched_part_is_drawn_and_changes_nothing():
    data, made = bars(240), recipe(train__epochs=4, train__keep="best", train__patience=2)
    train, rest = halves(data)
    choosing, watched = rest[:30], rest[30:]
    plain = fit_net(data, made, train_rows=train, validation_rows=choosing)
    seen = fit_net(data, made, train_rows=train, validation_rows=choosing, watched_rows=watched)
    assert np.array_equal(weights(plain), weights(seen))
    assert seen.kept_epoch == plain.kept_epoch
    assert not any("test_accuracy" in row for row in plain.history)
    output = seen.predict(data, watched)
    at = seen.history[seen.kept_epoch - 1]
    assert at["test_accuracy"] == pytest.approx(measure.accuracy(data.labels[watched], output.argmax(1)))
    assert at["test_loss"] == pytest.approx(measure.log_loss(data.labels[watched], output), rel=1e-3)


def test_parts_that_overlap_are_refused():
    with pytest.raises(DatasetError, match="2 rows are in the training and in the validation part"):
        fit_net(bars(), recipe(), train_rows=np.arange(100), validation_rows=np.arange(98, 120))


def test_early_stopping_keeps_the_best_epoch():
    data = bars(60, seed=3)
    made = recipe(train__keep="best", train__patience=3, train__epochs=60, train__rate=0.05, train__monitor="log_loss")
    fitted = fit(data, made)
    followed = [row["validation_log_loss"] for row in fitted.history]
    assert fitted.kept_epoch == int(np.argmin(followed)) + 1
    assert len(followed) == fitted.kept_epoch + 3
    assert fitted.stopped == "no better log_loss for 3 epochs"
    rows = halves(data)[1]
    assert measure.log_loss(data.labels[rows], fitted.predict(data, rows)) == pytest.approx(min(followed), rel=1e-3)


def test_early_stopping_stops_whichever_epoch_is_kept():
    data, made = bars(60, seed=3), recipe(train__patience=3, train__epochs=60, train__rate=0.05)
    fitted = fit(data, made.with_values({"train.monitor": "log_loss"}))
    followed = [row["validation_log_loss"] for row in fitted.history]
    assert len(followed) == int(np.argmin(followed)) + 1 + 3 == fitted.kept_epoch
    assert fitted.stopped == "no better log_loss for 3 epochs"


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_metric_that_is_not_a_number_is_the_worst(monkeypatch, keep):
    followed = iter([np.nan, 0.2, np.nan, 0.1, 0.3, 0.9])
    real = Loop._answers
    monkeypatch.setattr(Loop, "_answers", lambda *a: real(*a) | {"validation_accuracy": next(followed)})
    fitted = fit(bars(), recipe(train__keep=keep, train__patience=2, train__epochs=6))
    assert fitted.stopped == "no better accuracy for 2 epochs"
    assert len(fitted.history) == 4
    assert fitted.kept_epoch == (2 if keep == "best" else 4)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_without_validation_all_epochs_are_trained_and_it_is_said(keep):
    fitted = fit(bars(), recipe(train__keep=keep, train__patience=2), validation=None)
    assert any("All epochs are trained" in line for line in fitted.decisions)
    assert (fitted.recipe.train.keep, fitted.recipe.train.patience) == ("last", 0)


def test_without_validation_the_last_epoch_is_kept_and_said():
    fitted = fit(bars(), recipe(train__keep="best", train__patience=2), validation=None)
    assert fitted.kept_epoch == 4
    assert any("no validation part" in line for line in fitted.decisions)
    assert "validation_loss" not in fitted.history[0]


def test_class_weights_lift_the_rare_class():
    data = bars(600, seed=5)
    rare = np.flatnonzero(data.labels == 1)[:12]
    train = np.sort(np.concatenate([np.flatnonzero(data.labels == 2), rare]))
    recalls = {}
    for way in ("none", "weights", "sampling"):
        fitted = fit_net(data, recipe(prepare__balance=way, train__epochs=20), train_rows=train)
        test = np.setdiff1d(np.flatnonzero(data.labels == 1), rare)
        recalls[way] = (fitted.predict(data, test).argmax(1) == 1).mean()
    assert recalls["weights"] > recalls["none"] + 0.2
    assert recalls["sampling"] > recalls["none"] + 0.2


def test_a_regression_learns_in_the_targets_unit():
    data = brightness(240)
    made = recipe(train__epochs=15, train__rate=0.01, model__output="linear")
    fitted = fit(data, made)
    rows = halves(data)[1]
    answer = fitted.predict(data, rows)
    assert answer.shape == (60,)
    assert measure.r2(data.labels[rows], answer.astype(float)) > 0.9
    last = fitted.history[-1]
    assert last["validation_mse"] == pytest.approx(measure.mse(data.labels[rows], answer.astype(float)), rel=1e-3)
    assert last["validation_loss"] == pytest.approx(last["validation_mse"], rel=1e-3)
    assert float(fitted.network.target_mean) == pytest.approx(data.labels[halves(data)[0]].mean(), rel=1e-5)


def test_l2_enters_the_loss():
    plain = fit(bars(), recipe(train__epochs=1)).history[0]["train_loss"]
    heavy = fit(bars(), recipe(train__epochs=1, model__l2_dense=0.1)).history[0]["train_loss"]
    assert heavy > plain + 0.1


def test_a_loss_that_is_not_a_number_names_epoch_and_cure():
    made = recipe(
        train__rate=100, train__optimizer="sgd", model__conv_activation="linear", model__dense_activation="linear",
        prepare__scale="raw", train__epochs=50,
    )  # fmt: skip
    with pytest.raises(EstampaError, match=r"loss is (nan|inf) in epoch \d+, step .*Lower train.rate \(now 100\)"):
        fit(bars(), made)


def test_a_time_limit_ends_with_the_schedule_completed():
    made = recipe(train__epochs=5000, train__time_limit=1.0, train__schedule="onecycle")
    fitted = fit(bars(), made)
    assert "time limit of 1 s" in fitted.stopped
    assert fitted.seconds < 3
    assert fitted.history[-1]["rate"] < made.train.rate * 0.1


def test_blocks_of_a_file_train_as_well_as_memory(monkeypatch):
    monkeypatch.setattr(feeding, "MEMORY_SHARE", 0.0)
    monkeypatch.setattr(feeding, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(feeding, "MIXED_BYTES", 10_000)
    data = bars(240)
    made = recipe(train__epochs=10, train__rate=0.01, train__schedule="onecycle")
    one, two = fit(data, made), fit(data, made)
    assert np.array_equal(weights(one), weights(two))
    assert one.history[-1]["validation_accuracy"] > 0.85


@pytest.mark.parametrize("drawing", [None, "equal"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_feed_gives_every_object_once_an_epoch(in_memory, drawing, monkeypatch):
    monkeypatch.setattr(feeding, "BLOCK_BYTES", 200 * 7)
    monkeypatch.setattr(feeding, "MIXED_BYTES", 200 * 21)
    data = bars(100)
    data.images[:, 0, 0, 0] = np.arange(100)
    rows = np.random.default_rng(0).permutation(100)[:80]
    weights_ = None if drawing is None else np.ones(80)
    feed = Feed(data, rows, data.labels[rows], drawing=weights_, device="cpu", in_memory=in_memory)
    random = torch.Generator().manual_seed(0)
    orders = []
    for _ in range(2):
        seen = []
        for piece in feed.epoch(random):
            pixels = piece.images[piece.order][:, 0, 0, 0].numpy()
            assert np.array_equal(data.labels[pixels], piece.targets[piece.order].numpy())
            assert np.array_equal(np.sort(rows)[piece.places[piece.order].numpy()], pixels)
            seen += pixels.tolist()
        assert len(seen) == 80
        if drawing is None:
            assert sorted(seen) == sorted(rows.tolist())
        orders.append(seen)
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])
    assert feed.steps(9, 1) >= 9
    stored = np.concatenate(list(feed.stored()))
    assert np.array_equal(stored, data.images[np.sort(rows)])
    ordered = torch.cat([images for images, _ in feed.ordered(13)])
    assert np.array_equal(ordered.numpy(), stored)


@pytest.mark.parametrize("averaging", [0.0, 0.95])
def test_normalisation_statistics_are_those_of_plain_pictures(averaging):
    data = bars(200)
    model = {"name": "picturenet", "widths": 16}
    made = recipe(model=model, train__epochs=3, train__averaging=averaging, train__rate=0.02, prepare__erase=0.5)
    fitted = fit(data, made)
    norm = next(m for m in fitted.network.body.modules() if isinstance(m, torch.nn.BatchNorm2d))
    conv = next(m for m in fitted.network.body.modules() if isinstance(m, torch.nn.Conv2d))
    seen = []
    hook = norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    fitted.predict(data, halves(data)[0])
    hook.remove()
    assert conv.weight.dtype == torch.float32
    torch.testing.assert_close(norm.running_mean, torch.cat(seen).mean((0, 2, 3)), atol=1e-3, rtol=1e-3)
    assert norm.momentum is not None


def test_a_recipe_for_other_pictures_is_refused_naming_both():
    with pytest.raises(RecipeError, match=r"fashion.*28 x 28 x 1.*10 x 10 x 2"):
        fit(bars(), read("fashion").with_values({"data.outputs": 3}))


def test_a_last_batch_of_one_is_left_out_only_where_it_must():
    data = bars(33)
    train = np.arange(33)
    fit_net(data, recipe(train__epochs=1), train_rows=train)
    made = recipe(model={"name": "picturenet", "widths": 8}, train__epochs=1)
    assert np.isfinite(fit_net(data, made, train_rows=train).history[0]["train_loss"])


def test_the_loops_metrics_follow_the_monitor():
    data = bars()
    fitted = fit(data, recipe(train__epochs=1, train__monitor="macro_f1"))
    assert {"train_accuracy", "train_macro_f1", "validation_macro_f1"} <= set(fitted.history[0])
    assert Loop.metrics.fget is not None


def test_html_of_the_result():
    fitted = fit(bars(), recipe(train__epochs=1))
    assert f"{fitted.parameters:,} parameters" in fitted._repr_html_()
