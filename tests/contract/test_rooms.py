"""The rooms import what design allows: import-linter holds them to it, and can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
]
# Contract, the module that offends, and the line that does it.
VIOLATIONS = [
    ("Rooms of the collector, in order", "collector/dataset/gates.py", "import collector.campaign"),
    ("Rooms of the collector, in order", "collector/plan/rules.py", "import collector.campaign"),
    ("Rooms of the collector, in order", "collector/parse/wrk.py", "import collector.plan"),
    ("Rooms of the collector, in order", "collector/runner/block.py", "import collector.parse"),
    ("Rooms of the collector, in order", "collector/schema.py", "import collector.blockfile"),
    ("Rooms of the collector, in order", "collector/elsewhere.py", "import json"),
    (
        "Parsers know the schema alone, and do no I/O beyond their files",
        "collector/parse/ab.py",
        "import subprocess",
    ),
    (
        "The runner knows the block file alone: it is carried to hosts",
        "collector/runner/block.py",
        "import collector.schema",
    ),
    ("Standard library only", "collector/parse/ab.py", "import pandas"),
    ("Standard library only", "collector/blockfile.py", "import pydantic"),
    ("A plan touches no host", "collector/plan/plan.py", "import nomad"),
    (
        "The dataset is made of files, no host is asked",
        "collector/dataset/store.py",
        "import fabric",
    ),
    (
        "Publication reads the dataset and speaks to S3, no host is asked",
        "collector/publish/site.py",
        "import collector.campaign",
    ),
    ("Rooms of the collector, in order", "collector/dataset/show.py", "import collector.publish"),
    (
        "Analysis takes the schema alone from the collector",
        "analysis/report/page.py",
        "import collector.publish",
    ),
    (
        "Analysis takes the schema alone from the collector",
        "analysis/verdict.py",
        "import collector.dataset",
    ),
    ("Analysis opens no connection", "analysis/dataset.py", "import fabric"),
    ("Analysis opens no connection", "analysis/tables.py", "import boto3"),
    (
        "The collector does not know of the analysis",
        "collector/dataset/show.py",
        "import analysis.verdict",
    ),
    ("Jinja2 makes the report, and nothing else", "analysis/terminal.py", "import jinja2"),
    ("Jinja2 makes the report, and nothing else", "collector/plan/preview.py", "import jinja2"),
]
BARE = [
    "collector.blockfile",
    "collector.lock",
    "collector.parse",
    "collector.runner",
    "collector.schema",
]


def lint(root: Path) -> tuple[int, set[str], str]:
    """Exit code of ``lint-imports``, the contracts that it calls broken, and all that it said."""
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [program, "--no-cache", "--config", root / "pyproject.toml"],
        cwd=root,
        env={"PATH": os.defpath, "PYTHONPATH": str(root), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    broken = {name for name in CONTRACTS if f"{name} BROKEN" in result.stdout}
    return result.returncode, broken, result.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    for name in ("collector", "analysis"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_every_contract_holds() -> None:
    code, broken, said = lint(ROOT)
    assert (code, broken) == (0, set()), said


@pytest.mark.parametrize(
    ("contract", "module", "line"), VIOLATIONS, ids=[f"{v[1]}-{v[2]}" for v in VIOLATIONS]
)
def test_contract_notices_a_violation(copy: Path, contract: str, module: str, line: str) -> None:
    file = copy / module
    before = file.read_bytes() if file.exists() else None
    file.write_bytes((before or b"") + f"\n{line}\n".encode())
    try:
        code, broken, said = lint(copy)
    finally:
        file.unlink() if before is None else file.write_bytes(before)
    assert code == 1, said
    assert contract in broken, said


def test_every_contract_is_proved_to_fail() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)


def test_bare_rooms_import_the_standard_library_alone() -> None:
    graph = grimp.build_graph("collector", include_external_packages=True, cache_dir=None)
    for room in BARE:
        for module in {room} | graph.find_descendants(room):
            names = {
                name.partition(".")[0] for name in graph.find_modules_directly_imported_by(module)
            }
            assert names <= sys.stdlib_module_names | {"collector"}, module
