"""The load tools that can be used, by name. A new tool is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from collector.parse import (
    ab,
    fortio,
    h2load,
    h2load_inside,
    ipc,
    peer,
    serialisation,
    stream,
    sysbench,
    wrk,
)
from collector.parse.tool import LoadTool

_ALL: Final[tuple[LoadTool, ...]] = (
    ab.TOOL,
    fortio.TOOL,
    h2load.TOOL,
    h2load_inside.TOOL,
    ipc.TOOL,
    peer.TOOL,
    serialisation.TOOL,
    stream.TOOL,
    sysbench.TOOL,
    wrk.TOOL,
)
TOOLS: Final[Mapping[str, LoadTool]] = MappingProxyType({tool.name: tool for tool in _ALL})
