"""`estampa fetch`: the one verb that brings pretrained weights from the network."""

from __future__ import annotations

from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Verbose


def command(
    what: Annotated[str, typer.Argument(help="What to fetch: weights.")],
    name: Annotated[str, typer.Argument(help="A backbone of timm, as efficientnet_b0 or resnet18.a1_in1k.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fetch what is published elsewhere into the cache: pretrained weights, checked against the hub's SHA-256.

    No other verb goes to the network for weights. HF_ENDPOINT names another hub, or a copy of one.

    Example: estampa fetch weights efficientnet_b0
    """
    from estampa.cli.reading import one_of
    from estampa.models._fetch import fetch_weights

    one_of("estampa fetch", what, "weights")
    console = Console(json=json, quiet=quiet, verbose=verbose)
    found = fetch_weights(name, console)
    console.result(found.to_json(), found.lines())
