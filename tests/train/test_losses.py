"""Losses against plain formulas."""

import torch
from torch.nn import functional as F

from estampa.train.losses import make_loss

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 0, 0, 1])
WEIGHTS = torch.tensor([0.5, 1.0, 3.0])


def test_crossentropy_is_torchs():
    torch.testing.assert_close(make_loss("crossentropy")(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET))
    smooth = F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1)
    torch.testing.assert_close(make_loss("crossentropy", 0.1)(LOGITS, TARGET), smooth)


def test_class_weights_multiply_each_objects_loss_as_in_keras():
    each = F.cross_entropy(LOGITS, TARGET, reduction="none")
    torch.testing.assert_close(make_loss("crossentropy", 0, WEIGHTS)(LOGITS, TARGET), (each * WEIGHTS[TARGET]).mean())


def test_binary_is_keras_on_one_hot():
    hot, p = F.one_hot(TARGET, 3).float(), LOGITS.sigmoid()
    wanted = -(hot * p.log() + (1 - hot) * (1 - p).log()).mean()
    torch.testing.assert_close(make_loss("binary")(LOGITS, TARGET), wanted)
    each = -(hot * p.log() + (1 - hot) * (1 - p).log()).mean(1)
    torch.testing.assert_close(make_loss("binary", 0, WEIGHTS)(LOGITS, TARGET), (each * WEIGHTS[TARGET]).mean())


def test_mse_is_of_the_first_output():
    target = torch.arange(6.0)
    torch.testing.assert_close(make_loss("mse")(LOGITS[:, :1], target), (LOGITS[:, 0] - target).square().mean())
