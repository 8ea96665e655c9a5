"""Between the net whose head alone has learned and the one that learned on from it: a straight line of weights.

Fine-tuning forgets some of what the first weights knew; with few pictures that costs more than it brings. The net
halfway between often answers better than either (Wortsman et al. 2022, Robust fine-tuning of zero-shot models, CVPR;
arXiv:2109.01903), at the cost of one net. The line is of one frozen backbone's making: both ends have the head that
the first stage taught, and BatchNorm keeps its statistics throughout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from estampa.errors import RecipeError
from estampa.models._network import Body, Network, at_once
from estampa.recipe import TrainRecipe
from estampa.train.calibrate import LEAST, temperature_of
from estampa.train.feed import Feed

#: Shares that "auto" chooses from where the validation part is large enough, and the one that it takes elsewhere.
SHARES, MIDDLE = (0.0, 0.25, 0.5, 0.75, 1.0), 0.5
_ANSWER_BATCH = 256


def require_line(recipe: TrainRecipe, *, staged: bool) -> None:
    """Raise RecipeError for a blend of weights that have no line between them; `staged`: a stage follows the head's."""
    if recipe.blend == 1.0 or (recipe.blend == "auto" and not staged):
        return
    if not staged:
        raise RecipeError(
            "there are no two nets to blend: no stage follows one of the head", where="train.blend", got=recipe.blend,
            allowed="1, or 'auto'", cure="Set train.head_epochs, and train.unfreeze to what is to learn then.",
        )  # fmt: skip
    if not recipe.keep_statistics:
        raise RecipeError(
            "BatchNorm's statistics cannot be blended", where="train.blend", got=recipe.blend,
            allowed="1 with train.keep_statistics = false",
            cure="Set train.keep_statistics = true, or train.blend = 1.",
        )  # fmt: skip


def taken_aside(body: Body) -> dict[str, Tensor]:
    """Copies of the body's parameters by name, as they are now: where the line begins."""
    return {name: p.detach().to(torch.float32, copy=True) for name, p in body.named_parameters()}


@torch.no_grad()
def blended(
    network: Network, begin: dict[str, Tensor], recipe: TrainRecipe, validation: Feed | None, classes: bool
) -> str:
    """Put the weights at `recipe.blend` of the way from `begin` to what the network holds; return what to say of it.

    With "auto" the share of SHARES with the least log loss on the validation part, each at its own best temperature
    (label smoothing makes the ends unsure in different measure); MIDDLE with fewer than LEAST pictures there, or for a
    value in place of classes. The network is left in eval mode with ordinary float32 parameters.
    """
    body = network.body
    body.eval()
    end = taken_aside(body)
    n = 0 if validation is None or not classes else len(validation)
    if recipe.blend != "auto":
        share, why = recipe.blend, "train.blend"
    elif validation is None or n < LEAST:
        share, why = (
            MIDDLE,
            f"{n:,} validation pictures with a class cannot tell which share is best; {LEAST} are needed",
        )
    else:
        losses = [_loss(network, validation, begin, end, own) for own in SHARES]
        share = SHARES[int(np.argmin(losses))]
        told = ", ".join(f"{loss:.3f} at {own:g}" for own, loss in zip(SHARES, losses, strict=True))
        why = f"the least log loss of {n:,} validation pictures, which may look a little too well answered: {told}"
    _place(body, begin, end, share)
    return f"The weights are {share:g} of the way from the net whose head alone had learned to the last ones: {why}."


def _place(body: Body, begin: dict[str, Tensor], end: dict[str, Tensor], share: float) -> None:
    for name, parameter in body.named_parameters():
        parameter.copy_(torch.lerp(begin[name].to(end[name].device), end[name], share))


def _loss(network: Network, validation: Feed, begin: dict[str, Tensor], end: dict[str, Tensor], share: float) -> float:
    """Mean log loss of one view of each validation picture, at the temperature that suits this share best."""
    _place(network.body, begin, end, share)
    device, found, targets = network.centre.device, [], []
    for images, target in validation.ordered(at_once(network.body, _ANSWER_BATCH)):
        found.append(network.body(network.prepare(images.to(device))).float().cpu())
        targets.append(target.cpu())
    logits, truth = torch.cat(found).double().numpy(), torch.cat(targets).numpy()
    logits /= temperature_of(logits, truth)
    return float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(truth)), truth]))
