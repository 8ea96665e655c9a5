"""The manifest of a bundle, `bundle.json`: one record, whose keys are all there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from estampa import machine
from estampa.bundle.contract import InputContract
from estampa.bundle.contract_table import TableContract
from estampa.data.record import Header
from estampa.recipe import Recipe, Record

#: Number of the bundle's format. Raise it when an older estampa would misread the folder; keep reading the old ones,
#: with a test that holds a bundle of each (tests/bundle/). Format 1: the first.
FORMAT = 1
MANIFEST = "bundle.json"
REQUIRED = frozenset({"model.onnx", "prepare.safetensors", "reference.safetensors", "held.safetensors", "README.md"})
REQUEST = "examples/request.json"  #: the one file that lies in a folder of the bundle
OPTIONAL = frozenset({"weights.safetensors", "gallery.safetensors", "presets.safetensors", REQUEST})

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1)]


def _kind(contract: Any) -> str:
    """Which contract it is: pictures' bundles do not say, those of tables do."""
    kind = contract.get("kind") if isinstance(contract, dict) else getattr(contract, "kind", None)
    return "pictures" if kind is None else str(kind)


#: What a model was fed: pictures, or a table.
Contract = Annotated[
    Annotated[InputContract, Tag("pictures")] | Annotated[TableContract, Tag("table")], Discriminator(_kind)
]


def contract_from(value: Any) -> InputContract | TableContract:
    """A contract from its JSON; pydantic's ValidationError where it is none."""
    found: InputContract | TableContract = TypeAdapter(Contract).validate_python(value)
    return found


class FileEntry(Record):
    """Size in bytes and SHA-256 of one file."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Thresholds(Record):
    """Where a probability begins to count; None = not set."""

    #: of two classes, the probability from which the second is predicted; None = the more probable one
    decision: Probability | None = None
    #: an answer whose probability is below this flags the row `low_confidence`
    confidence: Probability | None = None


class Hashes(Record):
    """SHA-256 of what the model is, what it learned from and how."""

    model: Sha256  #: of model.onnx
    data: str  #: content hash of the Dataset
    recipe: Sha256  #: of the complete recipe as TOML or JSON


class Parity(Record):
    """How closely the exported model agrees with the trained one."""

    rows: int  #: pictures compared, at batch 1 and as one batch; of a table, rows
    tolerance: float  #: largest difference that is allowed, see bundle/export.py and export_table.py
    output: float  #: largest difference found in `output`
    logits: float | None = None  #: the same in `logits`
    #: of nearest neighbours, rows that differ since two neighbours are as far, of which either may be the last
    ties: Annotated[int, Field(ge=0)] | None = None


class Int8(Record):
    """What rounding the convolutions to 8 bits costs, measured on the validation part."""

    kept: bool  #: the bundle's graph is the rounded one; False = it lost too much, and the float one is there
    rows: Annotated[int, Field(ge=1)]  #: validation pictures that it was measured on
    before: Probability  #: accuracy of the float graph
    after: Probability  #: accuracy of the rounded graph
    agreement: Probability  #: share of the pictures that both answer alike
    allowed: Probability  #: accuracy that may be lost

    def sentence(self) -> str:
        """For the run's decisions and the card."""
        points = 100 * (self.before - self.after)
        way = "lost" if points > 0 else "gained"
        change = f"{abs(points):.2f} points {way}" if points else "no change"
        said = (
            f"int8 {'kept' if self.kept else 'refused, the model stays float'}: accuracy on {self.rows:,} validation "
            f"objects {self.before:.4f} in float, {self.after:.4f} in int8 ({change}; at most "
            f"{100 * self.allowed:.1f} may be lost), {self.agreement:.2%} of the answers the same."
        )
        return said + (" All figures of this model are of the int8 graph." if self.kept else "")


def papers(
    header: Header, recipe: Recipe, content_sha256: str, rows: Mapping[str, Any], used: Sequence[str]
) -> dict[str, Any]:
    """What every bundle says alike: name, parts, where its data came from, recipe, hashes, versions of what was `used`.

    `rows`: part -> its row numbers.
    """
    told = recipe.model_dump(mode="json")
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    return {
        "name": recipe.name,
        "parts": {part: len(r) for part, r in rows.items()},
        "data": {"origin": header.origin, "release": header.release, "licence": header.licence},
        "recipe": told,
        "hashes": {"data": content_sha256, "recipe": sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()},
        "versions": {name: versions[name] for name in used if versions.get(name)},
    }


def metadata(tree: Mapping[str, Any]) -> dict[str, str]:
    """What an ONNX file says about itself, for runtimes that never see bundle.json; `tree` is a manifest as JSON."""
    return {
        "estampa.format": str(FORMAT),
        "estampa.task": tree["task"],
        "estampa.classes": json.dumps(list(tree["classes"]), ensure_ascii=False),
        "estampa.contract": json.dumps(tree["contract"], ensure_ascii=False),
    }


class Manifest(Record):
    """What a bundle says about itself."""

    format: Literal[1]
    name: str  #: of the recipe
    task: Literal["classification", "regression"]
    classes: tuple[str, ...] = ()  #: in the order of the columns of `output`
    display: dict[str, tuple[str, ...]] = Field(default_factory=dict)  #: language -> names in class order
    contract: Contract
    outputs: dict[Literal["output", "logits", "embedding"], int]  #: width of each output
    thresholds: Thresholds = Thresholds()
    #: as `evaluate --json` gives them; "part" is the part that was judged, "test" where it is not there
    metrics: dict[str, Any] = Field(default_factory=dict)
    #: part whose objects `reference.safetensors` holds; "" = made before this was recorded
    reference_part: Literal["", "validation", "train"] = ""
    parts: dict[str, int] = Field(default_factory=dict)  #: rows in each part
    data: dict[str, Any] = Field(default_factory=dict)  #: where the data came from: origin, release, licence, name
    model: dict[str, Any] = Field(default_factory=dict)  #: name, parameters, kept epoch
    recipe: dict[str, Any] = Field(default_factory=dict)  #: the complete recipe
    #: names of the preparation's rule; its numbers, and of a table everything else of it, are in prepare.safetensors
    prepare: dict[str, Any] = Field(default_factory=dict)
    decisions: tuple[str, ...] = ()  #: what was chosen for the user, and why
    parity: Parity | None = None  #: of the float graph, also where `int8` rounded it afterwards
    int8: Int8 | None = None  #: None = nobody asked for it
    hashes: Hashes
    versions: dict[str, str] = Field(default_factory=dict)
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        wrong = [language for language, names in self.display.items() if len(names) != len(self.classes)]
        if wrong:
            raise ValueError(f"names in {wrong[0]!r} for another number of classes")
        if self.task == "classification":
            if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes) or not all(self.classes):
                raise ValueError("classes are two or more different names")
            if self.outputs.get("output") != len(self.classes):
                raise ValueError("as many outputs as classes")
        elif self.classes:
            raise ValueError("a regression has no classes")
        return self
