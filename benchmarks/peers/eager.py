"""The stamp net of a bundle as eager PyTorch: estampa's own classes with the bundle's weights, one thread.

Imported by the peers' services, so that they and the bundle do the same work: scaling, eight views, net, temperature.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from estampa.models import stampnet
from estampa.models._network import Network

CONSTANTS = ("centre", "softening", "offset", "factor", "fill")


class Model:
    """`answer` takes stamps (n, height, width, channels) float32."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)
        said = json.loads((Path(folder) / "bundle.json").read_text())
        weights = load_file(Path(folder) / "weights.safetensors")
        height, width, channels = said["contract"]["shape"]
        rule, told = said["prepare"], said["recipe"]
        assert said["model"]["name"] == "stampnet"
        planes = channels * (2 if rule["local"] else 1) + bool(rule["mask"])
        options = stampnet.Options(**{k: v for k, v in told["model"].items() if k != "name"})
        self.classes = said["classes"]
        self.net = Network(
            stampnet.build(options, (height, width, planes), len(self.classes)), shape=(height, width, channels),
            dtype=said["contract"]["dtype"], task=said["task"], rule=rule,
            constants={name: weights[name].numpy().reshape(-1) for name in CONSTANTS},
            views=told["prepare"]["symmetry"] if told["prepare"]["views"] == "symmetry" else "none",
        )  # fmt: skip
        self.net.load_state_dict(weights)
        self.net.eval()

    def answer(self, images: np.ndarray) -> dict[str, object]:
        """Of the first stamp: class and probabilities."""
        with torch.inference_mode():
            output = self.net(torch.from_numpy(images))[0][0].tolist()
        best = max(range(len(output)), key=output.__getitem__)
        return {"predicted": self.classes[best], "probabilities": dict(zip(self.classes, output, strict=True))}
