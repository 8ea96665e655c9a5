"""The units that our own nets are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from estampa.errors import RecipeError

#: The running figures of normalisation follow fast, as trainings are short.
MOMENTUM = 0.3


def unit(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, normalisation, ReLU; the convolution has no bias, as normalisation has one."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outside, momentum=MOMENTUM),
        nn.ReLU(inplace=True),
    )


def stage_filters(filters: Sequence[int], depth: Sequence[int], widths: int | None) -> list[int]:
    """Filters of each stage, the widest with `widths` of them when that is given and the others in proportion.

    RecipeError when `depth` does not have one number a stage.
    """
    if len(depth) != len(filters):
        raise RecipeError(
            f"{len(depth)} depths for {len(filters)} stages", where="model.depth",
            allowed="one number a stage, as model.filters",
        )  # fmt: skip
    share = 1 if widths is None else widths / max(filters)
    return [max(1, round(f * share)) for f in filters]


class Residual(nn.Module):
    """The picture plus what a convolution makes of it (He et al. 2016)."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.inner = unit(filters, filters, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(x)
        return y
