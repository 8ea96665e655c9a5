"""The routes of the pages."""

from __future__ import annotations

from starlette.routing import BaseRoute

from estampa.serve.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """Every page, and what pages load."""
    del service
    return []
