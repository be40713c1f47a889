"""Packs the runner and observer into one file: the same sources give the same bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
MAIN: Final = "from collector.runner.__main__ import main\nraise SystemExit(main())\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def pack_runner() -> tuple[bytes, str]:
    """Return the program, a zipapp for any Python from 3.9 with nothing else, and its hash."""
    members = {"__main__.py": MAIN.encode(), "collector/__init__.py": b""}
    members["collector/blockfile.py"] = (PACKAGE / "blockfile.py").read_bytes()
    for source in sorted((PACKAGE / "runner").glob("*.py")):
        members[f"collector/runner/{source.name}"] = source.read_bytes()
    for library in sorted((PACKAGE / "parse").glob("*.lua")):
        members[f"lib/{library.name}"] = library.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    program = buffer.getvalue()
    return program, hashlib.sha256(program).hexdigest()
