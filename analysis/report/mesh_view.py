"""The section Mesh: what its template shows of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analysis.contrast import Cell
from analysis.cpu import APPLICATION, CALLER, HOSTS, IDLE, UNATTRIBUTED
from analysis.mesh import Added, Mesh
from analysis.metric import words_of
from analysis.report.chart import in_cell
from analysis.result import Analysis

_BEFORE: Final = (CALLER,)
_AFTER: Final = (APPLICATION, UNATTRIBUTED, IDLE, HOSTS)


@dataclass(frozen=True, slots=True)
class MeshCell:
    """One cell: CPU in us by role, a row an arm (a part that an arm has not is absent), latency."""

    cell: Cell
    cpu_per: str
    parts: Sequence[str]
    rows: Sequence[tuple[str, dict[str, float]]]
    added: Sequence[Added]


def mesh_cells(analysis: Analysis) -> list[MeshCell]:
    """The cells of a campaign with sidecars; none without."""
    mesh = analysis.mesh
    if mesh is None or not mesh.settings:
        return []
    return [_mesh_cell(mesh, cell, analysis.arms) for cell in analysis.cells]


def _mesh_cell(mesh: Mesh, cell: Cell, arms: Sequence[str]) -> MeshCell:
    own = in_cell(mesh.cpu, cell)
    present = set(own["part"])
    sidecars = sorted(present - {*_BEFORE, *_AFTER})
    rows = []
    for arm in arms:
        of_arm = own[own["arm"] == arm]
        if len(of_arm):
            rows.append((arm, dict(zip(of_arm["part"], of_arm["cpu_s"] * 1e6, strict=True))))
    return MeshCell(
        cell=cell,
        cpu_per=words_of(cell.tool).cpu_per,
        parts=[name for name in (*_BEFORE, *sidecars, *_AFTER) if name in present],
        rows=rows,
        added=[one for one in mesh.added if one.cell == cell],
    )
