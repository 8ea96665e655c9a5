"""The loop: epochs of batches, validation, the kept epoch, checkpoints, and the ways to end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from estampa import files, measure
from estampa.errors import EstampaError, Interrupted
from estampa.models._network import at_once
from estampa.progress import Progress
from estampa.train import blend, checkpoint, memory
from estampa.train.average import Average
from estampa.train.feed import Feed
from estampa.train.job import Job, Outcome
from estampa.train.optim import Flat, Optimizer, rate_at
from estampa.train.probe import threads_set
from estampa.train.stages import CACHE_SHARE, Batch, Cache, answers_of, augment_of, learning, paces, plan, staged

#: Seconds between two writings of the checkpoint; an interruption writes the last epoch's in any case.
CHECKPOINT_SECONDS = 2.0
#: Steps between two looks at the loss.
LOOK_EVERY = 16
ANSWER_BATCH = 256


class Loop:
    """One training. `run` does it; the rest are its steps.

    With a `folder` the history is kept in history.jsonl and the state in a checkpoint, from which the same job goes on.
    """

    def __init__(self, job: Job, folder: Path | None, progress: Progress) -> None:
        self.job, self.folder, self.progress, self.recipe = job, folder, progress, job.recipe.train
        self.augment = augment_of(job.recipe.prepare)
        self.network, self.body = job.network, job.network.body
        self.random = torch.Generator().manual_seed(self.recipe.seed)
        assert isinstance(self.recipe.batch, int)
        self.stages, self.batch = plan(self.recipe, self.body), self.recipe.batch
        self.epochs = sum(stage.epochs for stage in self.stages)
        normalised = any(isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) for m in self.body.modules())
        self.smallest = 2 if normalised else 1  #: objects that a batch must have: one alone has no deviation
        self.history: list[dict[str, float]] = []
        self.told: list[str] = []
        self._enter(0)
        self.kept: dict[str, Tensor] = {}
        self.begun: dict[
            str, Tensor
        ] = {}  #: after the head's stage, where the last weights are to be blended with those
        self.kept_epoch, self.earlier, self.stopped = 0, job.spent, ""
        self.began = self.wrote = time.perf_counter()
        self.pending: checkpoint.Checkpoint | None = None  #: taken down, not yet written
        self.taken: checkpoint.Checkpoint | None = None  #: taken down last

    def run(self) -> Outcome:
        """Train to the end; the network holds the kept weights, in float32.

        Raises EstampaError when the loss is no longer a number, Interrupted on Ctrl-C (checkpoint written).
        """
        self._resume()
        self.progress.start("training", self.epochs, "epochs")
        self.progress.advance(len(self.history))
        assert isinstance(self.recipe.threads, int)
        try:
            with threads_set(self.recipe.threads), memory.kept():
                while not self.stopped:
                    if self.over:
                        self._next()
                    self._epoch(len(self.history) + 1)
                self._finish()
        except KeyboardInterrupt:
            done = self._keep_last_whole_epoch()
            raise Interrupted(
                f"training stopped after epoch {done} of {self.epochs}",
                where=self.folder or "",
                cure="Give the same command again to go on from there." if self.folder and done else "",
            ) from None
        self._write(always=True)
        self.progress.finish(self.stopped)
        return Outcome(self.history, self.kept_epoch, self.seconds, self.stopped, self.told)

    def _enter(self, number: int) -> None:
        """Begin stage `number`: freeze, and lay out anew what learns."""
        self.number, self.stage, self.over = number, self.stages[number], ""
        self.body.freeze(self.stage.frozen)
        cached = self.stage.cached  # a head is so small that bfloat16 would only blunt it
        half, last = self.recipe.dtype == "bf16" and not cached, self.recipe.memory_format == "channels_last"
        self.flat = Flat(self.body, half=half, channels_last=last)
        pace = paces(self.flat, self.body, self.recipe.rate_decay)
        self.optimizer = Optimizer(self.flat, self.recipe, pace)
        learning(self.body, self.recipe)
        self.average = Average(self.flat, self.body, self.recipe.averaging)
        self.average.prepare_refresh(self.job.train, self.network)
        self.rates = self.recipe.model_copy(update={"rate": self.stage.rate})
        self.total = self.stage.epochs * self.job.train.steps(self.batch, self.smallest)
        self.first = len(self.history)  #: epochs before this stage
        self.entered = self.seconds if number else 0.0
        self.cache: Cache | None = None
        self.answered: dict[str, Tensor] = {}

    def _next(self) -> None:
        """From the weights that count of this stage to the next one."""
        self._end()
        if self.stage.cached and self.recipe.blend != 1.0:
            self.begun = blend.taken_aside(self.body)
        self.progress.advance(self.first + self.stage.epochs - len(self.history))
        self._enter(self.number + 1)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.earlier + time.perf_counter() - self.began

    @property
    def position(self) -> float:
        """How far the stage is, 0..1: by steps, or by time when that is nearer its limit."""
        share = self.optimizer.steps / self.total
        if self.recipe.time_limit:
            room = self.recipe.time_limit * self.stage.ends - self.entered
            share = max(share, (self.seconds - self.entered) / room) if room > 0 else 1.0
        return min(share, 1.0)

    def _epoch(self, epoch: int) -> None:
        loss, outputs, rows = self._train(epoch)
        row: dict[str, float] = {"epoch": epoch, "seconds": 0.0, "rate": self.rate, "train_loss": loss}
        if len(self.stages) > 1:
            row["stage"] = self.number + 1
        truth = self.job.truth["train"][rows]
        row |= {f"train_{name}": measure.score(name, truth, outputs) for name in self.metrics}
        if self.job.validation is not None or self.job.watched is not None:
            with self.average:
                if self.job.validation is not None and len(self.job.validation):
                    row |= self._answers("validation", self.job.validation)
                    self._judge(epoch, row)
                if self.job.watched is not None:
                    row |= self._answers("test", self.job.watched)
        row["seconds"] = round(self.seconds, 3)
        self.history.append(row)
        if not self.over and epoch - self.first == self.stage.epochs:
            self.over = f"all {epoch} epochs done"
        elif not self.over and self._out_of_time():
            self.over = f"time limit of {self.recipe.time_limit:g} s reached in epoch {epoch}"
        if self.over and len(self.stages) > 1:
            self.told.append(self._ending(epoch))
        self.stopped = self._ended(epoch)
        self._snapshot()
        self.progress.advance(1, self._note(row))

    def _ended(self, epoch: int) -> str:
        """Why the whole training is over, "" when it is not: a stage that took all of the time is the last one."""
        if self.number + 1 == len(self.stages):
            return self.over
        late = self.recipe.time_limit is not None and self.seconds >= self.recipe.time_limit
        if not self.over or not late:
            return ""
        return f"time limit of {self.recipe.time_limit:g} s reached in epoch {epoch}, before the next stage"

    def _ending(self, epoch: int) -> str:
        """A sentence on the stage that is over."""
        said = f"Stage {self.number + 1} ({self.stage.name}) took epochs {self.first + 1} to {epoch}"
        if epoch - self.first < self.stage.epochs:
            said += f" of the {self.stage.epochs} it might have taken: {self.over}"
        return f"{said}; {self.cache.told} of features were computed once." if self.cache else f"{said}."

    @property
    def metrics(self) -> list[str]:
        """Metrics that are followed: the usual one of the task, and the one that chooses the epoch."""
        usual = "mse" if self.network.task == "regression" else "accuracy"
        return list(dict.fromkeys([usual, self.recipe.monitor]))

    def _out_of_time(self) -> bool:
        limit = self.recipe.time_limit
        return limit is not None and self.seconds >= limit * self.stage.ends

    def _left(self) -> float | None:
        """Seconds that the pass for cached features may still take; None without a time limit."""
        if self.recipe.time_limit is None:
            return None
        return self.entered + CACHE_SHARE * (self.recipe.time_limit * self.stage.ends - self.entered) - self.seconds

    def _train(self, epoch: int) -> tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """One pass; returns the mean loss, the outputs and the places (in the training part) they belong to."""
        learning(self.body, self.recipe)
        losses: list[Tensor] = []
        answers: list[Tensor] = []
        places: list[Tensor] = []
        sizes: list[int] = []
        exchange = self.network.exchange if self.network.exchanges else None
        for batch in self._batches():
            logits = self._logits(batch)
            if exchange is not None:  # the mirror image of a class that has a twin is the twin's: turn its answer back
                logits = torch.where(batch.mirrored[:, None], logits[:, exchange], logits)
            loss = self.job.loss(logits, batch.targets)
            penalty = self.body.penalty()
            total = loss if penalty is None else loss + penalty.float()
            self.flat.clear()
            total.backward()  # type: ignore[no-untyped-call]
            self.rate = rate_at(self.rates, self.position)
            self.optimizer.step(self.rate)
            self.average.update()
            losses.append(total.detach())
            answers.append(logits.detach())
            places.append(batch.places)
            sizes.append(len(batch.places))
            if self.optimizer.steps % LOOK_EVERY == 0:
                self._require_number(losses[-1], epoch)
            if self._out_of_time():
                break
        self._require_number(losses[-1], epoch)
        weights = torch.tensor(sizes, dtype=torch.float32)
        mean = float((torch.stack(losses).cpu() * weights).sum() / weights.sum()) * self._unit
        output = self.network.finish(torch.cat(answers)).cpu().numpy()
        return mean, output, torch.cat(places).cpu().numpy()

    @property
    def _unit(self) -> float:
        """A squared loss in the target's unit."""
        return float(self.network.target_deviation) ** 2 if self.network.task == "regression" else 1.0

    def _logits(self, batch: Batch) -> Tensor:
        """The net's answers (m, outputs) to a batch, augmented unless it is of cached features."""
        if self.stage.cached:
            return staged(self.body).top(batch.images)
        whole = self.augment.warps or batch.turned is not None
        images = self.network.prepare(batch.images, whole=whole)
        x = self.augment.change(images, self.random, batch.turned, self.body.neutral)
        return self.flat.answer(x)

    def _batches(self) -> Iterator[Batch]:
        if self.stage.cached:
            self.cache = self.cache or Cache(self.network, self.job.train, self.job.recipe, self._left)
            learning(self.body, self.recipe)
            yield from self.cache.batches(self.batch, self.smallest, self.random)
            return
        for piece in self.job.train.epoch(self.random):
            for start in range(0, len(piece.order), self.batch):
                rows = piece.order[start : start + self.batch]
                if len(rows) < self.smallest and len(piece.order) > 1:
                    continue
                images, mirrored = self.augment.gather(piece.images, rows, self.random)
                turned = None if piece.turned is None else piece.turned[start : start + self.batch]
                device = self.network.centre.device
                yield Batch(images.to(device), piece.targets[rows], piece.places[rows], mirrored.to(device), turned)

    def _require_number(self, loss: Tensor, epoch: int) -> None:
        if not torch.isfinite(loss):
            raise EstampaError(
                f"the loss is {float(loss)} in epoch {epoch}, step {self.optimizer.steps}",
                where="training",
                cure=f"Lower train.rate (now {self.recipe.rate:g}), or look for extreme pixels with 'estampa check' "
                "and set prepare.scale = 'standard'.",
            )

    def _answers(self, part: str, feed: Feed) -> dict[str, float]:
        """Loss and metrics of a part that is not learned from, from one view of each picture."""
        self.body.eval()
        logits, targets = [], []
        with torch.inference_mode():
            if self.stage.cached:
                if part not in self.answered:
                    self.answered[part] = answers_of(self.network, feed)
                logits, targets = [staged(self.body).top(self.answered[part]).float()], [feed.targets]
            else:
                for images, target in feed.ordered(at_once(self.body, ANSWER_BATCH)):
                    logits.append(self.flat.answer(self.network.prepare(images.to(self.network.centre.device))))
                    targets.append(target)
            merged = torch.cat(logits)
            loss = float(self.job.loss(merged, torch.cat(targets).to(merged.device))) * self._unit
            output = self.network.finish(merged).cpu().numpy()
        truth = self.job.truth[part]
        return {f"{part}_loss": loss, **{f"{part}_{m}": measure.score(m, truth, output) for m in self.metrics}}

    def _judge(self, epoch: int, row: dict[str, float]) -> None:
        """Take the weights of a best epoch aside if they are to be kept; stop after `patience` epochs without one.

        Of equal epochs the first is the best; a metric that is not a number is the worst there is.
        """
        key = f"validation_{self.recipe.monitor}"
        sign = 1 if measure.larger_is_better(self.recipe.monitor) else -1
        scores = [-math.inf if math.isnan(past[key]) else sign * past[key] for past in (*self.history, row)]
        best = scores.index(max(scores)) + 1
        if best == epoch and self.recipe.keep == "best":
            self.kept_epoch, self.kept = epoch, self.average.whole()
        waited = epoch - max(best, self.first)
        if self.recipe.patience and waited >= self.recipe.patience:
            self.over = f"no better {self.recipe.monitor} for {waited} epochs"

    def _note(self, row: dict[str, float]) -> str:
        metric = self.recipe.monitor
        note = f"loss {row['train_loss']:.4f}  {metric} {row[f'train_{metric}']:.4f}"
        if f"validation_{metric}" in row:
            note += f"  validation {row[f'validation_{metric}']:.4f}"
            note += "  best" if self.kept_epoch == row["epoch"] else ""
        return note

    def _finish(self) -> None:
        self._end()
        self.kept_epoch = self.kept_epoch or len(self.history)
        self.body.freeze(0)
        self.body.eval()
        if self.begun:
            classes = self.network.task == "classification"
            self.told.append(blend.blended(self.network, self.begun, self.recipe, self.job.validation, classes))
            self.progress.say(self.told[-1])

    def _end(self) -> None:
        """Leave the net with the weights that count: the best epoch's so far, or the last one's, averaged or not."""
        if self.kept:
            self.average.load_whole(self.kept)
        else:
            self.average.settle()
        self.flat.release()

    def _snapshot(self) -> None:
        """Take down the state at an epoch's end: history to its file, tensors to the checkpoint now and then."""
        if self.folder is None:
            return
        tensors = {f"now.{k}": v for k, v in self.average.everything().items()}
        tensors |= {f"kept.{k}": v for k, v in self.kept.items()} | {f"begun.{k}": v for k, v in self.begun.items()}
        tensors |= {f"optimizer.{k}": v.clone() for k, v in self.optimizer.state.items()}
        tensors |= checkpoint.random_states(self.random)
        state = {
            "history": self.history, "kept_epoch": self.kept_epoch, "stopped": self.stopped,
            "steps": self.optimizer.steps, "averaged": self.average.count, "seconds": self.seconds,
            "recipe": self.job.recipe.model_dump(mode="json"),
            "stage": self.number, "first": self.first, "entered": self.entered, "over": self.over, "told": self.told,
        }  # fmt: skip
        self.taken = self.pending = checkpoint.Checkpoint(self.job.fingerprint, tensors, json.loads(json.dumps(state)))
        self._write_history(self.folder)
        self._write()

    def _write_history(self, folder: Path) -> None:
        rows = self.taken.state["history"] if self.taken else []
        files.write_atomic(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def _keep_last_whole_epoch(self) -> int:
        """Write what was taken down last, wherever the interruption came; returns its epoch."""
        if self.folder is not None and self.taken is not None:
            self._write_history(self.folder)
            self._write(always=True)
        if self.taken is None:
            return 0 if self.folder else len(self.history)
        return len(self.taken.state["history"])

    def _write(self, *, always: bool = False) -> None:
        due = always or time.perf_counter() - self.wrote >= CHECKPOINT_SECONDS
        if self.folder is not None and self.pending is not None and due:
            self.pending.write(self.folder)
            self.pending, self.wrote = None, time.perf_counter()

    def _resume(self) -> None:
        self.rate = 0.0
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        found, why = checkpoint.read(self.folder, self.job.fingerprint)
        if why:
            self.progress.warn(f"{why}: training starts anew.")
        if found is None:
            return
        self.taken, state, tensors = found, found.state, found.tensors
        self.history, self.kept_epoch = state["history"], state["kept_epoch"]
        self.stopped, self.earlier, self.told = state["stopped"], state["seconds"], state["told"]
        if state["stage"]:
            self.flat.release()  # what the first stage froze is in its number type
            self._enter(state["stage"])
        self.first, self.entered, self.over = state["first"], state["entered"], state["over"]
        self.optimizer.steps, self.average.count = state["steps"], state["averaged"]
        for name, value in self.optimizer.state.items():
            value.copy_(tensors[f"optimizer.{name}"])
        self.kept = {k.removeprefix("kept."): v for k, v in tensors.items() if k.startswith("kept.")}
        self.begun = {k.removeprefix("begun."): v for k, v in tensors.items() if k.startswith("begun.")}
        self.average.restore({k.removeprefix("now."): v for k, v in tensors.items() if k.startswith("now.")})
        checkpoint.restore_random(self.random, tensors)
        self.progress.say(f"Going on after epoch {len(self.history)} of an earlier training in {self.folder}.")
