"""Container images by architecture: size and layers, as the bindings record them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.environment import parsed


@dataclass(frozen=True, slots=True, order=True)
class Image:
    """One image for one architecture; None is what no block file says."""

    name: str
    arch: str
    bytes: int | None
    layers: int | None
    digest: str | None


def read_images(bindings: pd.DataFrame) -> list[Image]:
    """Each image of a campaign once, by name, then architecture. One that names none is left out.

    ``bindings``: the column ``images`` is JSON, task -> name, digest, bytes, layers, arch.
    """
    found = set()
    for text in bindings["images"].dropna().unique():
        listed = parsed(text)
        for facts in listed.values() if isinstance(listed, dict) else ():
            if isinstance(facts, dict) and facts.get("arch") and facts.get("name"):
                size, layers, digest = (facts.get(key) for key in ("bytes", "layers", "digest"))
                found.add(Image(str(facts["name"]), str(facts["arch"]), size, layers, digest))
    return sorted(found, key=lambda one: (one.name, one.arch, one.digest or ""))
