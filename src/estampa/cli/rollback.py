"""`estampa rollback`: let a name in a registry be the bundle that it was before."""

from __future__ import annotations

from estampa.cli.console import Console
from estampa.cli.options import As, Json, RegistryFile, Who, Why


def command(registry: RegistryFile, why: Why, name: As = "champion", who: Who = "", json: Json = False) -> None:
    """Give a name in a registry back to the bundle that had it before, once that was audited; again, to the one before.

    Example: estampa rollback --registry registry.jsonl --why "misses rings"
    """
    from estampa.cli.promote import said
    from estampa.monitor.registry import Registry

    entry = Registry(registry).rollback(name, why=why, who=who)
    Console(json=json).result(entry.to_json(), said(entry))
