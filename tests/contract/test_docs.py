"""The documentation says what is so: links, commands, tags, messages, packages, and its examples.

In an example, a fenced block ``console`` holds commands after ``$ ``, each with the beginning of
its output; ``...`` stands for anything. ``exit=N`` after ``console`` is the expected exit code. A
block with ``file=PATH`` is written there first, in a copy of the repository's tree.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from collector.plan.experiment import load_experiment
from collector.plan.jobfile import declared_variables

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", ".lab", ".hypothesis", ".ansible", "node_modules"}
OFFLINE = {"parse", "plan"}
LEAST_PIECE = 6  # characters; shorter pieces between two "..." would be found anywhere


def pages() -> list[Path]:
    """Every page of the repository."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not SKIPPED.intersection(path.relative_to(ROOT).parts)
    )


PAGES = pages()


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Fence:
    """A fenced block: what stands after the fence, and the lines within."""

    info: str
    text: str

    def option(self, name: str) -> str | None:
        found = re.search(rf"\b{name}=(\S+)", self.info)
        return found[1] if found else None


def fences(path: Path) -> list[Fence]:
    found = re.findall(r"^```(.*)\n((?:.*\n)*?)^```$", path.read_text(), re.MULTILINE)
    return [Fence(info.strip(), text) for info, text in found]


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*\n(?:.*\n)*?^```$", "", path.read_text(), flags=re.MULTILINE)


def code(path: Path) -> str:
    """What a reader may type: fenced blocks and code spans."""
    spans = re.findall(r"`([^`\n]+)`", prose(path))
    return "\n".join([*spans, *(fence.text for fence in fences(path))])


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        missing = not path.exists() or ROOT not in (path, *path.parents)
        if missing or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_fences_are_closed(page: Path) -> None:
    assert len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = set(re.findall(r"(?:^|[\s(])make ([a-z][a-z-]*)\b(?!=)", code(page), re.MULTILINE))
    assert said - targets == set()


@functools.cache
def playbook_tags() -> set[str]:
    tags: set[str] = set()
    for path in (ROOT / "lab.yml", *sorted((ROOT / "playbooks").glob("*.yml"))):
        for play in yaml.safe_load(path.read_text()) or ():
            tags.update(play.get("tags", ()))
    return tags - {"never", "always"}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_tags_exist(page: Path) -> None:
    said = {
        tag for tags in re.findall(r"--tags[ =]([\w,-]+)", code(page)) for tag in tags.split(",")
    }
    assert said - playbook_tags() == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_experiments_exist(page: Path) -> None:
    known = {path.stem for path in (ROOT / "experiments").glob("*.yml")}
    known |= {Path(name).stem for fence in fences(page) if (name := fence.option("file"))}
    said = set(re.findall(r"\bexperiment=([a-z][a-z0-9-]*)", code(page)))
    assert said - known == set()


def subcommands(module: str) -> set[str]:
    app = importlib.import_module(module).app
    return set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_is_in_the_readme_and_every_one_named_exists() -> None:
    collector, analysis = subcommands("collector.cli") | {"parse"}, subcommands("analysis.__main__")
    readme = code(ROOT / "README.md")
    undocumented = {name for name in collector | analysis if not re.search(rf"\b{name}\b", readme)}
    assert undocumented == set()
    for page in PAGES:
        assert set(re.findall(r"-m collector ([a-z]+)", code(page))) <= collector, page
        assert set(re.findall(r"-m analysis ([a-z]+)", code(page))) <= analysis, page


def test_every_daily_target_is_in_the_readme() -> None:
    text = (ROOT / "Makefile").read_text()
    daily = text.partition("##@ Every day")[2].partition("##@")[0]
    targets = set(re.findall(r"^([a-z][a-z-]*):.*## ", daily, re.MULTILINE)) - {"help"}
    readme = code(ROOT / "README.md")
    assert {name for name in targets if f"make {name}" not in readme} == set()


# Examples


def examples() -> list[tuple[Path, Fence]]:
    return [
        (page, fence) for page in PAGES for fence in fences(page) if fence.info[:7] == "console"
    ]


def steps(fence: Fence) -> list[tuple[list[str], str]]:
    """(arguments, expected output) of each command."""
    parts = re.split(r"^\$ ", fence.text, flags=re.MULTILINE)
    assert not parts[0].strip(), "output before the first command"
    return [
        (shlex.split(command), output)
        for command, _, output in (part.partition("\n") for part in parts[1:])
    ]


def matches(expected: str, said: str) -> bool:
    """Whether ``said`` begins as ``expected`` does; blanks count once, ``...`` is anything."""
    pieces = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    pattern = r"\s?(?:.*?)\s?".join(pieces)
    return re.match(pattern, " ".join(said.split())) is not None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The repository's tree, with folders of its own where examples write."""
    for entry in ROOT.iterdir():
        if entry.name not in SKIPPED | {"jobs", "experiments"}:
            (tmp_path / entry.name).symlink_to(entry)
    for name in ("jobs", "experiments"):
        (tmp_path / name).mkdir()
        for entry in (ROOT / name).iterdir():
            (tmp_path / name / entry.name).symlink_to(entry)
    return tmp_path


def write_files(page: Path, tree: Path) -> None:
    """Write the page's blocks that are files."""
    for fence in fences(page):
        if name := fence.option("file"):
            assert not (tree / name).exists(), f"{name}: an example would hide a file of that name"
            (tree / name).write_text(fence.text)


def test_there_are_examples() -> None:
    assert {page_id(page) for page, _ in examples()} >= {"README.md", "docs/adding-a-topology.md"}


@pytest.mark.parametrize(
    ("page", "fence"), examples(), ids=lambda it: page_id(it) if isinstance(it, Path) else ""
)
def test_example_prints_what_the_page_says(page: Path, fence: Fence, tree: Path) -> None:
    write_files(page, tree)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SOCKLAB_")},
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for argv, expected in steps(fence):
        assert argv[:3] == ["python", "-m", "collector"], argv
        assert argv[3] in OFFLINE, argv
        done = subprocess.run(
            [sys.executable, *argv[1:]],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == int(fence.option("exit") or 0), done.stdout
        assert matches(expected, done.stdout), done.stdout


def nomad_program() -> Path:
    """The pinned ``nomad``, where the lab keeps it."""
    defaults = (ROOT / "roles" / "nomad" / "defaults" / "main.yml").read_text()
    version = yaml.safe_load(defaults)["nomad_version"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socklab" / "bin"
    found = sorted(cache.glob(f"nomad-{version}-linux-*"))
    if not found:
        pytest.fail(f"no nomad {version} in {cache}: 'make setup' obtains it", pytrace=False)
    native = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")
    return next((path for path in found if path.name.endswith(native)), found[0])


def arms_of(tree: Path, page: Path) -> list[tuple[str, Mapping[str, object]]]:
    """(job file, variables) of every arm of the page's sound experiments."""
    found: list[tuple[str, Mapping[str, object]]] = []
    for fence in fences(page):
        name = fence.option("file") or ""
        if name.startswith("experiments/") and "typo" not in name:
            experiment = load_experiment(tree / name)
            found += [
                (str(experiment.job_of(arm)), dict(experiment.variables_of(arm)))
                for arm in experiment.spec.arms
            ]
    return found


def test_topology_of_the_tutorial_takes_what_the_engine_sets(tree: Path) -> None:
    page = ROOT / "docs" / "adding-a-topology.md"
    write_files(page, tree)
    image = f"registry.test/x@sha256:{'a' * 64}"
    engine = {f"image_{name}": image for name in ("proxy", "app", "combined")}
    engine |= {"node": "lab-2", "host_cpus": "1"}
    arms = arms_of(tree, page)
    assert len(arms) > 1
    for job, variables in arms:
        declared = declared_variables((tree / job).read_text())
        ours = {name: value for name, value in engine.items() if name in declared}
        options = [f"-var={name}={value}" for name, value in {**ours, **variables}.items()]
        for argv in (["fmt", "-check", job], ["job", "run", "-output", *options, job]):
            done = subprocess.run(
                [nomad_program(), *argv],
                cwd=tree,
                env={"PATH": os.defpath, "NOMAD_ADDR": "http://127.0.0.1:1"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr


# Messages


@functools.cache
def spoken() -> str:
    """What the sources can say: texts that a source breaks over lines are joined."""
    found = []
    folders = ("collector", "analysis", "roles", "playbooks", "inventories", "jobs", "workloads")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yml", ".hcl") and path.is_file():
                found.append(re.sub(r"\"\s*\n\s*[rf]?\"", "", path.read_text()))
    found.append((ROOT / "Makefile").read_text())
    return " ".join(" ".join(found).split()).replace('\\"', '"')


def messages() -> list[str]:
    page = prose(ROOT / "docs" / "troubleshooting.md")
    tables = re.findall(r"^\| message \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    return [
        found[1]
        for row in rows
        if "(Nomad's)" not in row and (found := re.match(r"\| `([^`]+)`", row))
    ]


@pytest.mark.parametrize("message", messages())
def test_message_is_one_that_the_sources_can_say(message: str) -> None:
    pieces = [piece.strip(" ;,:") for piece in message.split("...")]
    long = [piece for piece in pieces if len(piece) >= LEAST_PIECE]
    assert long, "nothing of it can be looked for"
    assert [piece for piece in long if piece not in spoken()] == []


# Dependencies


def test_every_dependency_has_its_line() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    wanted: set[str] = set()
    for name in ("lab.in", "test.in"):
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        wanted |= {line.strip() for line in lines if line and not line.startswith(("#", "-"))}
    wanted |= debian_packages()
    assert {name for name in wanted if f"`{name}`" not in page} == set()


def debian_packages() -> set[str]:
    """Debian packages that roles install or put into images."""
    found: set[str] = set()
    for path in sorted((ROOT / "roles").rglob("*.yml")):
        if path.parent.name == "tasks":
            text = path.read_text()
            for names in re.findall(r"builtin\.apt:\n\s+name: \[([^\]]+)\]", text):
                found.update(name.strip() for name in names.split(","))
        elif path.parent.name in ("defaults", "vars"):
            found |= listed_packages(yaml.safe_load(path.read_text()))
    return found


def listed_packages(value: object, *, inside: bool = False) -> set[str]:
    """Words of every list whose key ends in ``packages``."""
    if isinstance(value, dict):
        return {
            name
            for key, item in value.items()
            for name in listed_packages(item, inside=str(key).endswith("packages"))
        }
    if isinstance(value, list):
        return {name for item in value for name in listed_packages(item, inside=inside)}
    plain = inside and isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", value)
    return {str(value)} if plain else set()
