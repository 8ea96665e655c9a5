"""The command line: one file per verb, imported only when that verb runs, so that `estampa --help` stays instant."""

from __future__ import annotations

import collections
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from estampa.errors import EstampaError, nearest
from estampa.machine import patient_threads

#: Every verb with its line of help; `estampa VERB` is the function `command` of the file cli/VERB.py.
VERBS = {
    "build": "Read pictures, arrays or text files into one Dataset file.",
    "check": "Look for what spoils a result: duplicates, leaks, missing values, wrong labels.",
    "split": "Part a Dataset into train, validation and test, and store the parts in it.",
    "reduce": "Reduce wide pictures to a few numbers, and back; write them as a Dataset.",
    "explore": "Find clusters in several ways, judge and compare them on one page; assign new data.",
    "train": "Train a model on a Dataset or on raw files, judge it, and leave a run folder.",
    "evaluate": "Judge a run, or anyone's answers, with intervals; gate with --require.",
    "predict": "Score data with a run or a bundle.",
    "explain": "Show which pixels the answers hang on, and which regions those of a class lean on.",
    "runs": "List runs side by side.",
    "serve": "Serve a web page and a REST API for any models.",
    "retrain": "Train a challenger by a model's own recipe on new data.",
    "monitor": "Hold a service's log, predictions or data against what a model knows of clean data; a verdict.",
    "compare": "Compare two models on the same unseen objects, and recommend one.",
    "promote": "Let a name in a registry, as champion, be this bundle from now on.",
    "rollback": "Let a name in a registry be the bundle that it was before.",
    "log": "Show or forget what a service has logged; list and check a registry's history.",
    "reproduce": "Run a published study: as published, done right, and ours, in one table.",
    "fetch": "Fetch pretrained weights into the cache: the only verb that does.",
    "demo": "The whole way on an embedded data set, in about two minutes.",
    "doctor": "Say what is installed, what this machine offers, and what each verb lacks.",
}
_OVERVIEW = "From small labelled scientific images to a classifier that one can defend, serve and watch."


def application(verb: str | None = None) -> typer.Typer:
    """The typer application: all verbs as names and help lines, `verb` (if it is one) imported whole."""
    app = typer.Typer(
        name="estampa", help=_OVERVIEW, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )  # fmt: skip
    app.callback(help=_OVERVIEW)(_root)
    for name, line in VERBS.items():
        command = importlib.import_module(f"estampa.cli.{name}").command if name == verb else _named(name)
        app.command(name, help=None if name == verb else line, short_help=line)(_guarded(command))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"estampa {version('estampa')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Carry the options of the program itself."""


def _named(name: str) -> Callable[[], None]:
    """A stand-in that carries a verb's name into the list of verbs; main() never lets it run."""

    def verb() -> None:
        raise EstampaError(f"the verb {name!r} was not loaded")

    return verb


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn estampa's own errors into one message and an exit code; anything else is a fault of ours, with traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except EstampaError as error:
            print(f"estampa: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("estampa: interrupted", file=sys.stderr)
            # Interrupted inside an exec, as a dataclass is made by, Python remembers it and would end itself by the
            # signal at exit (pymain in its main.c). It forgets when it runs a text again, as a named tuple is made by.
            collections.namedtuple("Forget", "interruption")
            raise typer.Exit(130) from None
        except PermissionError as error:
            if error.filename is None:
                raise
            print(f"estampa: {error.filename}: permission denied. Get the right to read it.", file=sys.stderr)
            raise typer.Exit(2) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `estampa` command; ends the process with the exit code of DESIGN.md."""
    patient_threads()
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((w for w in words if not w.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        cure = nearest(verb, VERBS) or f"Known: {', '.join(VERBS)}."
        print(f"estampa: no verb {verb!r}. {cure}", file=sys.stderr)
        raise SystemExit(2)
    application(verb)(words, prog_name="estampa")
