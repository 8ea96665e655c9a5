"""How flags that say how files are read become values, spelled once for `build` and `train`."""

from __future__ import annotations

import re

from estampa.errors import InputError, nearest


def height_width(text: str | None) -> tuple[int, int] | None:
    """Read --size, "HxW"; None stays None."""
    if text is None:
        return None
    height, width = _numbers(text, "--size", "HxW, as 64x48")
    return height, width


def height_width_channels(text: str | None) -> tuple[int, int, int] | None:
    """Read --reshape, "HxWxC" or "HxW" for one channel; None stays None."""
    if text is None:
        return None
    if re.fullmatch(r"\s*\d+[x,X]\d+\s*", text):
        text += "x1"
    height, width, channels = _numbers(text, "--reshape", "HxWxC, as 21x21x4; or HxW for one channel")
    return height, width, channels


def _numbers(text: str, flag: str, wanted: str) -> list[int]:
    parts = re.split("[x,]", text.strip().lower())
    if len(parts) != wanted.partition(",")[0].count("x") + 1 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise InputError("not understood", where=flag, allowed=wanted, got=repr(text))
    return [int(part) for part in parts]


def one_of(flag: str, value: str, *allowed: str) -> str:
    """Return `value` when it is allowed; else raise InputError that names the flag."""
    if value in allowed:
        return value
    names = [name for name in allowed if name]
    raise InputError(
        "not understood", where=flag, allowed=", ".join(names), got=repr(value), cure=nearest(value, names)
    )
