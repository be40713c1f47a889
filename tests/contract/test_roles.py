"""Every role says what it takes: argument spec, defaults and README agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
SECTIONS = ["Example", "Variables", "Check mode"]
every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


class Loader(yaml.SafeLoader):
    """Ansible's own tags are read as plain text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader) if path.exists() else None


def spec(role: Path) -> dict[str, dict[str, Any]]:
    """Options of the role's entry point."""
    found = read(role / "meta" / "argument_specs.yml")
    options = found["argument_specs"]["main"]["options"]
    assert isinstance(options, dict)
    return options


def defaults(role: Path) -> dict[str, Any]:
    return read(role / "defaults" / "main.yml") or {}


def task_files(role: Path) -> list[Path]:
    return sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")])


def walk(value: Any) -> Any:
    """Every mapping inside a parsed file."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from walk(inner)


def test_there_are_roles() -> None:
    assert len(ROLES) >= 12


@every_role
def test_role_has_metadata(role: Path) -> None:
    info = read(role / "meta" / "main.yml")["galaxy_info"]
    assert info["role_name"] == role.name
    assert info["license"] == "Apache-2.0"
    assert info["description"]


@every_role
def test_defaults_are_those_of_the_argument_spec(role: Path) -> None:
    optional = {name: body for name, body in spec(role).items() if not body.get("required")}
    assert all("default" in body for body in optional.values())
    assert {name: body["default"] for name, body in optional.items()} == defaults(role)


@every_role
def test_required_options_have_no_default(role: Path) -> None:
    required = {name for name, body in spec(role).items() if body.get("required")}
    assert not required & defaults(role).keys()
    assert all("default" not in spec(role)[name] for name in required)


@every_role
def test_every_option_is_typed_and_described(role: Path) -> None:
    for name, body in spec(role).items():
        assert body["type"], name
        assert body["description"].endswith((".", ")")), name


@every_role
def test_public_variables_carry_the_roles_prefix(role: Path) -> None:
    names = spec(role).keys() | defaults(role).keys()
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []


@every_role
def test_what_the_role_keeps_to_itself_is_marked_private(role: Path) -> None:
    private = f"__{role.name}_"
    names = set(read(role / "vars" / "main.yml") or {})
    told = set()
    for path in task_files(role):
        for mapping in walk(read(path)):
            registered = mapping.get("register")
            names |= {registered} if isinstance(registered, str) else set()
            loop_variable = (mapping.get("loop_control") or {}).get("loop_var")
            names |= {loop_variable} if loop_variable else set()
            told |= set(mapping.get("ansible.builtin.set_fact") or {})
    assert [name for name in names if not name.startswith(private)] == []
    # What a role tells the play under its own name is public, and in its README.
    public = {name for name in told if not name.startswith(private)}
    assert [name for name in public if not name.startswith(f"{role.name}_")] == []
    readme = (role / "README.md").read_text()
    assert [name for name in public if f"`{name}`" not in readme] == []


@every_role
def test_readme_names_every_variable_with_its_default(role: Path) -> None:
    readme = (role / "README.md").read_text()
    assert readme.startswith(f"# {role.name}\n")
    assert re.findall(r"^## (.*)$", readme, re.MULTILINE) == SECTIONS
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", readme, re.MULTILINE))
    assert rows.keys() == spec(role).keys()
    for name, body in spec(role).items():
        assert ("required" in rows[name]) == bool(body.get("required")), name
        if isinstance(body.get("default"), str | int) and "{{" not in str(body["default"]):
            default = str(body["default"])
            shown = default.lower() if isinstance(body["default"], bool) else default
            assert f"`{shown}`" in rows[name] or rows[name] == "empty", name


@every_role
def test_readme_example_sets_known_variables(role: Path) -> None:
    readme = (role / "README.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    (task,) = yaml.safe_load(example)
    assert task["ansible.builtin.include_role"]["name"] == role.name
    given = task.get("vars", {}).keys()
    required = {name for name, body in spec(role).items() if body.get("required")}
    assert required <= given <= spec(role).keys()


@every_role
def test_tasks_are_sentences_and_subfiles_prefix_them(role: Path) -> None:
    for path in role.glob("tasks/*.yml"):
        prefix = "" if path.name == "main.yml" else f"{path.stem.replace('_', ' ')} | "
        for mapping in walk(read(path)):
            name = mapping.get("name")
            if isinstance(name, str) and (mapping.keys() & {"block", "when", "register"}):
                assert name.lower().startswith(prefix), f"{path}: {name}"


def test_what_is_done_on_the_controller_asks_for_no_privilege_there() -> None:
    """A play's ``become`` is for the hosts: the controller may have no sudo, and its files are the
    user's.
    """
    files = [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]
    found = [
        (path, mapping)
        for path in files
        for mapping in walk(read(path) or [])
        if mapping.get("delegate_to") == "localhost"
    ]
    assert len(found) > 50
    for path, mapping in found:
        assert mapping.get("become") is False, f"{path}: {mapping.get('name', mapping)}"
