"""The units that our own nets are made of."""

from __future__ import annotations

from torch import Tensor, nn

#: The running figures of normalisation follow fast, as trainings are short.
MOMENTUM = 0.3


def unit(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, normalisation, ReLU; the convolution has no bias, as normalisation has one."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outside, momentum=MOMENTUM),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """The picture plus what a convolution makes of it (He et al. 2016)."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.inner = unit(filters, filters, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(x)
        return y
