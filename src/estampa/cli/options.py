"""Options that several verbs share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on the way.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="The one seed that rules the run.")]
RegistryFile = Annotated[
    Path, typer.Option("--registry", help="The registry: a file, or a folder with registry.jsonl.")
]
Mlflow = Annotated[
    str, typer.Option("--mlflow", metavar="URL", help="Export to this MLflow server too: http://HOST:PORT.")
]
Experiment = Annotated[str, typer.Option(help="Of --mlflow: the experiment that the runs are put into.")]
Files = Annotated[bool, typer.Option("--files", help="Of --mlflow: send the bundles' files too.")]
As = Annotated[str, typer.Option("--as", help="The name: champion, challenger, or any other.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for whoever asks in a year.")]
Who = Annotated[str, typer.Option("--who", help="Who decides it; by default USER@HOST.")]
