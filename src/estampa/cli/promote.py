"""`estampa promote`: let a name in a registry be this bundle from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import As, Json, RegistryFile, Who, Why

if TYPE_CHECKING:
    from estampa.monitor.registry import Entry


def command(
    run: Annotated[str, typer.Argument(help="A run, a bundle, or REGISTRY:NAME. It stays where it is.")],
    registry: RegistryFile,
    why: Why,
    name: As = "champion",
    who: Who = "",
    instead_of: Annotated[
        str, typer.Option(help="The model (its hash) that must have the name now; another one is an error.")
    ] = "",
    json: Json = False,
) -> None:
    """Give a name in a registry to this bundle, once it was audited; a service that follows the name swaps to it.

    Of two that promote at once, one wins, and the other is told by whom and why. The head that is printed is worth
    keeping elsewhere: `estampa log history --head` holds the registry against it.

    Example: estampa promote runs/b --registry registry.jsonl --why "2 points better on spirals, see runs/b"
    """
    from estampa.monitor.registry import Registry

    entry = Registry(registry).promote(run, name, why=why, who=who, instead_of=instead_of)
    Console(json=json).result(entry.to_json(), said(entry))


def said(entry: Entry) -> list[str]:
    """What a new line of a registry means, for people."""
    return [
        f"{entry.name} is version {entry.version}, model {entry.model}, in {entry.path}",
        f"line {entry.number}, head {entry.sha256}",
    ]
