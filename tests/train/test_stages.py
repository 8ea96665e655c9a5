"""Training in stages: what is frozen does not move, and the frozen part is computed once."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from made import bars, halves, recipe, weights
from test_resume import Teller
from torch import nn

from estampa.errors import DatasetError, Interrupted, RecipeError
from estampa.models._network import DEEP, Network, StagedBody
from estampa.train import blend, fit, loop, stages
from estampa.train.average import Average
from estampa.train.feed import Feed
from estampa.train.fit import fit_net
from estampa.train.optim import Flat, Optimizer, rate_at


class Small(StagedBody):
    """Three blocks with BatchNorm, average pooling, dropout and an output layer: a backbone in small."""

    def __init__(self, channels=2, outputs=3):
        super().__init__()
        widths = (channels, 4, 5, 6)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        )
        self.dropout, self.output, self.frozen, self.seen = nn.Dropout(0.1), nn.Linear(6, outputs), 0, 0

    def features(self, x):
        self.seen += len(x)
        for part in self.parts:
            x = part(x)
        return x.mean((2, 3))

    def top(self, f):
        return self.head(f)

    def embed(self, x):
        return self.features(x)

    def head(self, e):
        return self.output(self.dropout(e))

    def blocks(self):
        return list(self.parts)

    def freeze(self, blocks):
        self.frozen = blocks
        for number, part in enumerate(self.parts):
            for parameter in part.parameters():
                parameter.requires_grad_(number >= blocks)
        self.train(self.training)

    def train(self, mode=True):
        super().train(mode)
        for part in self.parts[: self.frozen]:
            part.eval()
        return self


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Every net that is built is a Small; what was built is listed."""
    built = []

    def build(told, shape, outputs):
        built.append(Small(shape[2], outputs))
        return built[-1]

    monkeypatch.setattr(fit, "build_body", build)
    monkeypatch.setattr(fit, "layers_of", lambda *_: [])
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    return built


def first_weights(seed=0):
    """What a Small begins with when the seed of the recipe is `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small().state_dict()


def trained(folder=None, progress=None, data=None, **changes):
    data = data or bars()
    train, validation = halves(data)
    told = recipe(**{"train__rate": 0.02, **changes})
    return fit_net(
        data, told, train_rows=train, validation_rows=validation, folder=folder, progress=progress or Teller()
    )


def same(fitted, first, prefix):
    now = fitted.network.body.state_dict()
    names = [name for name in first if name.startswith(prefix)]
    assert names
    return all(torch.equal(now[name], first[name]) for name in names)


DECAYED = {
    "train__optimizer": "adamw", "train__weight_decay": 0.1, "train__averaging": 0.9, "prepare__symmetry": "hflip",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_frozen_weights_and_running_means_do_not_move(kind, dtype):
    changes = {**DECAYED, "train__optimizer": kind, "train__dtype": dtype, "train__keep": "best"}
    first = first_weights()
    alone = trained(train__unfreeze="none", **changes)
    assert same(alone, first, "parts.")  # kernels, BatchNorm's weights, running means and variances, batches counted
    assert not same(alone, first, "output.")
    part = trained(train__unfreeze=1, **changes)
    assert same(part, first, "parts.0.")
    assert same(part, first, "parts.1.")
    for name in ("parts.2.0.weight", "parts.2.1.weight", "parts.2.1.running_mean", "output.weight"):
        assert not same(part, first, name)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in part.network.body.parameters())


def test_statistics_that_are_kept_stay_where_blocks_learn():
    first = first_weights()
    for changes in (DECAYED, {**DECAYED, "train__unfreeze": 2, "train__head_epochs": 1}):
        fitted = trained(train__keep_statistics=True, **changes)
        for name in ("parts.2.1.running_mean", "parts.2.1.running_var", "parts.2.1.num_batches_tracked"):
            assert same(fitted, first, name)
        assert not same(fitted, first, "parts.2.1.weight")
        assert not same(fitted, first, "parts.2.0.weight")


def test_of_nets_that_are_whole_everything_moves():
    whole, first = trained(**DECAYED), first_weights()
    for name in ("parts.0.0.weight", "parts.0.1.running_mean", "output.weight"):
        assert not same(whole, first, name)
    assert "stage" not in whole.history[0]


def test_the_frozen_part_runs_once(made):
    data = bars()
    learn, look = (len(rows) for rows in halves(data))
    trained(data=data, train__unfreeze="none", train__epochs=9, train__head_views=3)
    assert made[0].seen == 3 * learn + look
    trained(data=data, train__unfreeze="none", train__epochs=30, train__head_views=3)
    assert made[1].seen == made[0].seen


def test_cached_features_teach_what_the_frozen_net_teaches_picture_by_picture(monkeypatch):
    """Without augmentation and dropout an epoch of both is the same."""
    monkeypatch.setattr(nn, "Dropout", lambda _: nn.Identity())
    changes = {"train__unfreeze": "none", "train__head_views": 1, "train__epochs": 1}
    cached = trained(**changes)
    plain = stages.Stage("head", 1, 0.02, frozen=3)
    monkeypatch.setattr(loop, "plan", lambda *_: [plain])
    whole = trained(**changes)
    assert np.allclose(weights(cached), weights(whole), atol=1e-5)
    for key in ("train_loss", "validation_loss", "train_accuracy"):
        assert cached.history[0][key] == pytest.approx(whole.history[0][key], abs=1e-5)


def test_cached_views_are_the_picture_and_augmented_ones_and_stay_the_same():
    fitted = trained(train__unfreeze="none", train__epochs=1, prepare__symmetry="hflip", prepare__erase=0.5)
    data = bars()
    train, _ = halves(data)
    parted = fit._Parts.of(data, fitted.recipe, train, None)
    feed = parted.feed(data, parted.train, fitted.recipe, "cpu")
    caches = [stages.Cache(fitted.network, feed, fitted.recipe) for _ in range(2)]
    assert torch.equal(caches[0].features, caches[1].features)
    features = caches[0].features
    assert features.shape == (4, len(train), 6)
    plain = stages.answers_of(fitted.network, feed)
    assert torch.allclose(features[0], plain, atol=1e-6)
    assert not torch.allclose(features[1], plain, atol=1e-3)
    assert not caches[0].mirrored[0].any()
    assert 0.3 < float(caches[0].mirrored[1:].float().mean()) < 0.7
    random = torch.Generator().manual_seed(1)
    batches = list(caches[0].batches(16, 2, random))
    places = torch.cat([b.places for b in batches])
    assert torch.equal(places.sort().values, torch.arange(len(train)))
    for batch in batches:
        assert torch.equal(batch.targets, feed.targets[batch.places])
        among = torch.cdist(features[:, batch.places].transpose(0, 1), batch.images[:, None]).min(1).values
        assert float(among.max()) < 1e-5  # each is one of its own picture's views


def test_cached_mirror_images_teach_the_class_that_they_show(monkeypatch):
    """All cached views are called mirror images: the head must learn the twin of each label, and be told right."""
    real = stages._looked_at
    monkeypatch.setattr(
        stages, "_looked_at", lambda *told: real(*told)._replace(mirrored=torch.ones(len(told[2]), dtype=torch.bool))
    )
    data = bars()
    fitted = trained(
        data=data, train__unfreeze="none", train__epochs=60, train__rate=0.1, train__head_views=1,
        prepare__symmetry="hflip", prepare__mirrored=[["flat", "upright"]],
    )  # fmt: skip
    rows, _ = halves(data)
    answers = fitted.predict(data, rows).argmax(1)
    twins = np.array([1, 0, 2])[data.labels[rows]]
    assert (answers == twins).mean() > 0.6 > (answers == data.labels[rows]).mean()
    assert fitted.history[-1]["train_accuracy"] > 0.6


def test_copies_and_balanced_drawing_reach_the_cache():
    data = bars(120)
    data.labels[:60] = 0
    for balance in ("copies", "sampling"):
        fitted = trained(data=data, train__unfreeze="none", train__epochs=1, prepare__balance=balance)
        parted = fit._Parts.of(data, fitted.recipe, np.arange(120), None)
        feed = parted.feed(data, parted.train, fitted.recipe, "cpu")
        cache = stages.Cache(fitted.network, feed, fitted.recipe)
        targets = torch.cat([b.targets for b in cache.batches(8, 1, torch.Generator().manual_seed(0))])
        counts = torch.bincount(targets, minlength=3)
        assert int(counts.max()) < 2 * int(counts.min())


def test_room_for_features():
    assert stages.room_for(100, 4, 10, 16_000) == (torch.float32, 4)
    assert stages.room_for(100, 4, 10, 15_999) == (torch.float16, 4)
    assert stages.room_for(100, 4, 10, 7_999) == (torch.float16, 3)
    with pytest.raises(DatasetError, match=r"do not fit in memory.*head_epochs = 0"):
        stages.room_for(100, 4, 10, 1_999)


def test_little_memory_means_fewer_and_rounded_views(monkeypatch):
    monkeypatch.setattr(stages.machine, "memory_total", lambda: 2 * 120 * 6 * 2 / stages.MEMORY_SHARE + 1)
    fitted = trained(train__unfreeze="none", train__epochs=2)
    assert fitted.history[-1]["epoch"] == 2
    data = bars()
    parted = fit._Parts.of(data, fitted.recipe, halves(data)[0], None)
    cache = stages.Cache(fitted.network, parted.feed(data, parted.train, fitted.recipe, "cpu"), fitted.recipe)
    assert cache.told.startswith("2 x 120 x 6 float16")


def plan(**changes):
    return stages.plan(recipe(**changes).train, Small())


def test_plans():
    assert [(s.name, s.epochs, s.frozen, s.cached) for s in plan()] == [("all", 4, 0, False)]
    assert [(s.name, s.epochs, s.frozen, s.cached) for s in plan(train__unfreeze="none")] == [("head", 4, 3, True)]
    made = plan(train__head_epochs=7, train__head_rate=0.5, train__unfreeze=[1, 2, "all"], train__epochs=7)
    assert [(s.name, s.epochs, s.frozen) for s in made] == [
        ("head", 7, 3), ("last 1 of 3 blocks", 3, 2), ("last 2 of 3 blocks", 2, 1), ("all", 2, 0),
    ]  # fmt: skip
    assert [s.rate for s in made] == [0.5, 0.001, 0.001, 0.001]
    assert [s.ends for s in made] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert [s.name for s in plan(train__unfreeze=[1, 2, "all"], train__epochs=2)] == ["last 2 of 3 blocks", "all"]
    assert [s.ends for s in plan(train__unfreeze=2)] == [1.0]


@pytest.mark.parametrize("told", [4, [2, 1], [1, 1], ["all", 2], [1, 4], []])
def test_impossible_plans_are_refused(told):
    with pytest.raises(RecipeError, match=r"cannot unfreeze so.*from 1 to 3"):
        plan(train__unfreeze=told)


def test_contradictions_are_refused():
    with pytest.raises(RecipeError, match="nothing but the head learns"):
        plan(train__unfreeze="none", train__head_epochs=3)
    with pytest.raises(RecipeError, match=r"(?s)unfreeze.*got 'some'"):
        recipe(train__unfreeze="some")


def test_a_net_without_backbone_is_refused(monkeypatch):
    monkeypatch.undo()
    for changes in (
        {"train__unfreeze": "none"},
        {"train__head_epochs": 2},
        {"train__rate_decay": 0.5},
        {"train__keep_statistics": True},
    ):
        with pytest.raises(RecipeError, match="no backbone to train in stages"):
            trained(**changes)


def test_each_block_learns_at_its_own_rate():
    """With plain slopes of 1 a step of the vector is the rate: rate_decay to the power of the blocks above."""
    body = Small()
    flat = Flat(body, half=False, channels_last=True)
    pace = stages.paces(flat, body, 0.5)
    told = recipe(train__optimizer="sgd", train__momentum=0.0, train__weight_decay=0.1).train
    optimizer = Optimizer(flat, told, pace)
    before = flat.vector.clone()
    flat.gradient.fill_(1.0)
    optimizer.step(0.1)
    moved = (before * (1 - 0.01 * flat.decayed) - before) - 0.1
    assert torch.allclose(flat.vector - before, moved * pace, atol=1e-6)
    found = {name: float(pace[place].unique()) for (name, _), (_, place) in zip(
        [(n, p) for n, p in body.named_parameters()], flat.pieces(), strict=True
    )}  # fmt: skip
    assert found["output.weight"] == found["output.bias"] == 1.0
    assert (found["parts.2.0.weight"], found["parts.1.1.bias"], found["parts.0.0.weight"]) == (0.5, 0.25, 0.125)
    assert stages.paces(flat, body, 1.0) is None


GRADUAL = {
    **DECAYED, "train__head_epochs": 3, "train__unfreeze": [1, "all"], "train__epochs": 4, "train__rate_decay": 0.5,
    "train__schedule": "onecycle", "train__head_rate": 0.05, "prepare__erase": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_interrupted_in_any_stage_the_same_weights_come_out(after, keep, tmp_path):
    changes = {**GRADUAL, "train__keep": keep}
    whole = trained(**changes)
    with pytest.raises(Interrupted, match=rf"stopped after epoch {after} of 7"):
        trained(tmp_path, Teller(stop_after=after), **changes)
    resumed = trained(tmp_path, **changes)
    assert np.array_equal(weights(whole), weights(resumed))
    assert [r["stage"] for r in resumed.history] == [1, 1, 1, 2, 2, 3, 3]

    def plain(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert plain(resumed.history) == plain(whole.history)
    assert resumed.kept_epoch == whole.kept_epoch
    assert resumed.decisions[-3:] == whole.decisions[-3:]


def test_interrupted_in_bfloat16_frozen_blocks_come_back_whole(tmp_path):
    """Without a stage of the head the first stage is in bfloat16: what it freezes must not stay rounded."""
    changes = {"train__dtype": "bf16", "train__unfreeze": [1, 2], "train__keep": "last"}
    whole = trained(**changes)
    with pytest.raises(Interrupted, match="after epoch 3 of 4"):
        trained(tmp_path, Teller(stop_after=3), **changes)
    resumed = trained(tmp_path, **changes)
    assert {p.dtype for p in resumed.network.body.parameters()} == {torch.float32}
    assert same(resumed, first_weights(), "parts.0.")
    assert np.array_equal(weights(whole), weights(resumed))


def test_a_backbone_is_given_few_pictures_at_a_time(made, monkeypatch):
    """Its maps take much memory: 256 pictures of 192 pixels are gigabytes."""
    sizes = []
    real = Small.features
    monkeypatch.setattr(Small, "features", lambda self, x: sizes.append(len(x)) or real(self, x))
    fitted = trained(data=bars(600), train__epochs=1)
    fitted.predict(bars(100).images)
    assert len(sizes) > 20
    assert max(sizes) <= DEEP


@pytest.mark.parametrize("left_over", [1, 2, 31])
def test_statistics_are_found_from_even_pieces(left_over):
    """A rest of one picture has no deviation where its map is one place, and would count as much as 32 others."""

    class Flattened(Small):
        def features(self, x):
            return super().features(x.mean((2, 3), keepdim=True))

    torch.manual_seed(0)
    body, data = Flattened(), bars(DEEP + left_over)
    network = Network(
        body, shape=(10, 10, 2), dtype="uint8", task="classification", rule={"stretch": "none", "local": 0, "mask": 0},
        constants={"centre": [0.0], "softening": [1.0], "offset": [0.0], "factor": [1 / 255], "fill": [0.0]},
    )  # fmt: skip
    feed = Feed(data, np.arange(data.n), data.labels, drawing=None, device="cpu")
    average = Average(Flat(body, half=False, channels_last=True), body, 0.0)
    average.prepare_refresh(feed, network)
    with average:
        found = body.parts[0][1].running_mean.clone()
    body.eval()
    with torch.no_grad():
        pixels = network.prepare(torch.from_numpy(data.images)).mean((2, 3), keepdim=True)
        expected = body.parts[0][0](pixels).mean((0, 2, 3))
    assert torch.allclose(found, expected, atol=2e-3 * float(expected.abs().max()))


def test_stages_are_told_and_have_schedules_of_their_own():
    fitted = trained(**GRADUAL)
    said = "\n".join(fitted.decisions)
    head = 6 * 3 + 3
    assert f"Stage 1, 3 epochs: {head} of" in said
    assert "at rate 0.05, on the features of 4 views of each picture" in said
    assert "The first 2 are frozen, BatchNorm's statistics too." in said
    assert "at rate 0.02 (head), 0.01 (last block) to 0.0025 (first block)." in said
    assert "Stage 1 (head) took epochs 1 to 3; 4 x 120 x 6 float32" in said
    assert "Stage 3 (all) took epochs 6 to 7." in said
    rates = [row["rate"] for row in fitted.history]
    assert rates[2] < 0.01 < rates[0]  # the end of one cycle, then another begins
    assert rates[6] < 0.005
    assert rate_at(fitted.recipe.train, 1.0) == pytest.approx(0.0002)


def test_patience_ends_a_stage_and_the_best_weights_of_all_stages_are_kept(monkeypatch):
    """Scores are made up: the head's best is epoch 2, of all the best is epoch 6, in the second stage."""
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.3, 0.9, 0.7, 0.8, 0.1, 0.1])
    taken = []
    real = loop.Loop._answers

    def answers(self, part, feed):
        taken.append(self.average.whole())
        return {**real(self, part, feed), "validation_accuracy": next(scores)}

    monkeypatch.setattr(loop.Loop, "_answers", answers)
    changes = {"train__head_epochs": 5, "train__epochs": 6, "train__unfreeze": "all", "train__head_views": 1}
    fitted = trained(**changes, train__keep="best", train__patience=2)
    assert [row["stage"] for row in fitted.history] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert fitted.kept_epoch == 6
    assert fitted.stopped == "no better accuracy for 2 epochs"
    assert any("epochs 1 to 4 of the 5 it might have taken: no better accuracy" in line for line in fitted.decisions)
    kept = fitted.network.body.state_dict()
    assert all(torch.equal(kept[n.removeprefix("p.").removeprefix("b.")], v) for n, v in taken[5].items())


def test_the_head_is_kept_where_unfreezing_did_not_help(monkeypatch):
    scores = iter([0.2, 0.9, 0.5, 0.4, 0.3])
    real = loop.Loop._answers
    monkeypatch.setattr(
        loop.Loop, "_answers", lambda self, p, f: {**real(self, p, f), "validation_accuracy": next(scores)}
    )
    fitted = trained(train__head_epochs=3, train__epochs=2, train__keep="best")
    assert fitted.kept_epoch == 2
    assert same(fitted, first_weights(), "parts.")


def test_a_stage_that_took_all_of_the_time_is_the_last_one(monkeypatch):
    """The frozen part runs once, whatever it takes; a step of the whole net would come on top."""
    late, real = {"by": 0.0}, time.perf_counter
    monkeypatch.setattr(loop.time, "perf_counter", lambda: real() + late["by"])
    batches = stages.Cache.batches
    monkeypatch.setattr(stages.Cache, "batches", lambda *told: late.update(by=60.0) or batches(*told))
    fitted = trained(train__head_epochs=5, train__epochs=5, train__time_limit=50.0)
    assert [row["stage"] for row in fitted.history] == [1]
    assert fitted.stopped == "time limit of 50 s reached in epoch 1, before the next stage"
    assert same(fitted, first_weights(), "parts.")


def test_the_clock_is_looked_at_after_each_step(monkeypatch):
    """A step of a large net may take seconds."""
    clock, steps = {"now": 0.0}, []
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock["now"])
    real = Optimizer.step

    def slow(self, rate):
        steps.append(rate)
        clock["now"] += 2.0
        real(self, rate)

    monkeypatch.setattr(Optimizer, "step", slow)
    fitted = trained(train__epochs=3, train__time_limit=5.0)
    assert len(steps) == 3
    assert fitted.stopped == "time limit of 5 s reached in epoch 1"


def test_rates_of_blocks_are_told_without_a_stage_of_the_head_too():
    told = recipe(train__rate_decay=0.5).train
    (line,) = stages.told(stages.plan(told, Small()), told, Small())
    assert "of all 3 blocks, at rate 0.001 (head), 0.0005 (last block) to 0.00013 (first block)." in line
    told = recipe(train__keep_statistics=True, train__unfreeze=1).train
    (line,) = stages.told(stages.plan(told, Small()), told, Small())
    assert "the last 1 of 3 blocks" in line
    assert line.endswith(
        "The first 2 are frozen, BatchNorm's statistics too. All of the backbone's BatchNorm keeps its statistics."
    )
    told = recipe(train__keep_statistics=True).train
    (line,) = stages.told(stages.plan(told, Small()), told, Small())
    assert "All of the backbone's BatchNorm keeps its statistics." in line
    told = recipe().train
    assert stages.told(stages.plan(told, Small()), told, Small()) == []


def test_statistics_are_found_anew_once_an_epoch_where_a_test_part_is_followed(monkeypatch):
    found, real = [], Average.settle
    monkeypatch.setattr(Average, "settle", lambda self: found.append(1) or real(self))
    data, told = bars(), recipe(train__epochs=3)
    fitted = fit_net(
        data, told, train_rows=np.arange(80), validation_rows=np.arange(80, 120), watched_rows=np.arange(120, 160)
    )
    assert {"validation_accuracy", "test_accuracy"} <= fitted.history[0].keys()
    assert len(found) == 3 + 1


def test_a_time_limit_leaves_room_for_the_later_stages(monkeypatch):
    clock = {"now": 0.0}

    def ticking():
        clock["now"] += 0.05
        return clock["now"]

    monkeypatch.setattr(loop.time, "perf_counter", ticking)
    fitted = trained(
        train__head_epochs=500, train__epochs=500, train__time_limit=20.0, train__threads=1, train__averaging=0.5
    )
    assert fitted.stopped.startswith("time limit of 20 s")
    assert {row["stage"] for row in fitted.history} == {1, 2}
    ends = max(row["seconds"] for row in fitted.history if row["stage"] == 1)
    assert 4.8 < ends < 7.5  # a quarter


BLENDED = {"train__head_epochs": 3, "train__epochs": 2, "train__keep_statistics": True, "train__averaging": 0.9}


def test_blended_weights_lie_between_those_of_the_head_and_the_last_ones():
    begun, middle, last = (trained(**BLENDED, train__blend=share) for share in (0.0, 0.25, 1.0))
    assert same(begun, first_weights(), "parts.")
    assert not same(last, first_weights(), "parts.")
    ends = [dict(fitted.network.body.named_parameters()) for fitted in (begun, last)]
    for name, value in middle.network.body.named_parameters():
        torch.testing.assert_close(value, torch.lerp(ends[0][name], ends[1][name], 0.25), rtol=0, atol=1e-6)
    assert middle.history[-1]["validation_loss"] == last.history[-1]["validation_loss"]
    (said,) = [line for line in middle.decisions if "of the way from the net whose head alone had learned" in line]
    assert said.startswith("The weights are 0.25 ")
    assert not [line for line in last.decisions if "of the way" in line]


def test_a_blend_is_chosen_by_validation_where_that_can_tell(monkeypatch):
    few = trained(**BLENDED, train__blend="auto")
    assert "The weights are 0.5 of the way" in few.decisions[-1]
    assert "40 validation pictures with a class cannot tell" in few.decisions[-1]
    monkeypatch.setattr(blend, "LEAST", 40)
    real, seen = blend._loss, []
    monkeypatch.setattr(blend, "_loss", lambda *told: seen.append(real(*told)) or seen[-1])
    many = trained(**BLENDED, train__blend="auto")
    best = blend.SHARES[int(np.argmin(seen))]
    assert len(seen) == len(blend.SHARES)
    assert len({round(loss, 6) for loss in seen}) > 1
    assert f"The weights are {best:g} of the way" in many.decisions[-1]
    told = trained(**BLENDED, train__blend=best)
    assert np.array_equal(weights(many), weights(told))


@pytest.mark.parametrize("after", [2, 4, 5])
def test_interrupted_the_same_blend_comes_out(after, tmp_path):
    changes = {**BLENDED, "train__blend": "auto"}
    with pytest.raises(Interrupted, match=rf"stopped after epoch {after} of 5"):
        trained(tmp_path, Teller(stop_after=after), **changes)
    assert np.array_equal(weights(trained(**changes)), weights(trained(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"train__blend": 0.5}, "no two nets to blend"),
        ({"train__blend": 0.5, "train__unfreeze": "none"}, "no two nets to blend"),
        ({"train__blend": "auto", "train__head_epochs": 2}, "statistics cannot be blended"),
    ],
)
def test_a_blend_without_two_nets_or_their_statistics_is_refused(told, why):
    with pytest.raises(RecipeError, match=why):
        plan(**told)
    assert plan(train__blend="auto") == plan()  # there is but one stage


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (300.0, "4 x 120 x 6 float32, 0.0 MB"),
        (31.0, "2 x 120 x"),
        (5.0, "1 x 10 x 6 float32, 0.0 MB (120 entries would"),
    ],
)
def test_the_pass_for_features_keeps_to_the_time_limit(limit, told, monkeypatch):
    """0.1 s a picture: 12 s a view of 120, and 0.8 of the limit for all of them."""
    clock, real = {"now": 0.0}, Small.features

    def slow(self, x):
        clock["now"] += 0.1 * len(x)
        return real(self, x)

    monkeypatch.setattr(Small, "features", slow)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(stages, "LEAST_CACHED", 10)
    caches, made_one = [], stages.Cache.__init__
    monkeypatch.setattr(stages.Cache, "__init__", lambda self, *told: caches.append(self) or made_one(self, *told))
    trained(train__unfreeze="none", train__epochs=1, train__time_limit=limit, train__threads=1)
    (cache,) = caches
    assert cache.told.startswith(told)
    assert len(cache.entries) == cache.features.shape[1] == cache.mirrored.shape[1]
    assert cache.entries.unique().tolist() == cache.entries.tolist()
    classes = cache.feed.targets[cache.entries]
    assert 0 < int((classes == 0).sum()) < len(classes)
    assert bool(cache.features.abs().sum(2).all())
