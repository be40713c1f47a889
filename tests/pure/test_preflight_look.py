"""What is said of a machine before anything changes there: a tree of files stands for it."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "roles/preflight/files/look.py"
SYMBOLS = "br_handle_frame veth_newlink ovl_fill_super nft_do_chain xt_register_target"
TREE = {
    "proc/1/comm": "systemd\n",
    "proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\n",
    "proc/filesystems": "nodev\toverlay\n\text4\n",
    "proc/kallsyms": "".join(f"0 T {name}\n" for name in SYMBOLS.split()),
    "proc/meminfo": "MemTotal:        8000000 kB\nMemFree: 1 kB\n",
    "proc/net/tcp": "  sl  local_address rem_address   st ...\n",
    "proc/self/status": "Name:\tpython3\nCpus_allowed_list:\t0-3\n",
    "proc/stat": "cpu  900 0 50 9000 0 0 0 0 0 0\ncpu0 1 2 3 4\n",
    "sys/devices/system/cpu/online": "0-3,8\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "var/lib/x": "",
}
WANTED: dict[str, Any] = {
    "lab": "bench", "arch": "x86_64", "cpus": [1, 2], "address": "127.0.0.1", "interface": "",
    "ports": {"8301": "consul", "5000": "docker-registry"}, "paths": ["/opt/consul"],
    "users": ["consul"], "allow_untested": False, "disk_gib": 0, "memory_mb": 1536, "skew_s": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("look", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (root / name).unlink()
        else:
            (root / name).write_text(text)


def seen(program: ModuleType, root: Path, kind: str = "x86_64", **wanted: Any) -> dict[str, Any]:
    machine = program.Machine(root, WANTED | wanted)
    machine.arch = kind
    found = program.look(machine)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, dict(TREE))
    return tmp_path


def test_a_sound_machine(program: ModuleType, root: Path) -> None:
    assert seen(program, root) == {
        "errors": [],
        "warnings": [],
        "release": "Debian GNU/Linux 13 (trixie)",
        "untested": False,
    }


CGROUPS = "".join(f"{name}\t1\t1\t1\n" for name in ("cpu", "cpuacct", "cpuset", "pids"))
ERRORS: list[tuple[dict[str, str | None], dict[str, Any], str]] = [
    ({"proc/1/comm": "bash"}, {}, "process 1 is bash, not systemd"),
    ({}, {"arch": "aarch64"}, "the architecture is x86_64, lab_arch says aarch64"),
    ({}, {"arch": "riscv64"}, "the architecture is x86_64, lab_arch says riscv64"),
    ({"etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"'}, {},
     "the system is Ubuntu 24.04 LTS; tried are Debian 12 and 13"),
    ({"etc/os-release": 'ID=debian\nVERSION_ID="11"'}, {},
     "the system is unknown; tried are Debian 12 and 13"),
    ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids"}, {},
     "control groups without memory"),
    ({"sys/fs/cgroup/cgroup.controllers": None, "proc/cgroups": CGROUPS + "memory\t0\t1\t0\n"}, {},
     "control groups without memory"),
    ({"proc/kallsyms": "0 T br_handle_frame\n0 t nft_do_chain\n"}, {},
     "the kernel has no veth, x_tables"),
    ({"opt/consul/x": ""}, {}, "already there, and not this lab's: /opt/consul"),
    ({"etc/passwd": "consul:x:1:1::/:/bin/sh"}, {},
     "already there, and not this lab's: user consul"),
    ({"etc/socklab/before.json": '{"lab": "other"}'}, {}, "lab other is on this machine"),
    ({}, {"skew_s": 3600.04}, "its clock is 3600.0 s ahead of the controller's"),
    ({}, {"skew_s": -1.5}, "its clock is 1.5 s behind the controller's"),
    ({}, {"cpus": [2, 2]}, "lab_cpus is [2, 2]"),
    ({}, {"cpus": [3, 8, 9]}, "no CPU 8, 9; there are 0, 1, 2, 3"),
    ({}, {"address": "198.51.100.11"}, "no interface has the address 198.51.100.11"),
    ({}, {"address": "bench.example"}, "ansible_host is bench.example, a name"),
    ({}, {"interface": "nonesuch0"}, "interface nonesuch0 has no address"),
    ({"proc/meminfo": "MemTotal: 1000000 kB"}, {}, "976 MB of memory, needed 1536"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "wanted", "what"), ERRORS, ids=[row[2] for row in ERRORS])
def test_what_is_refused(
    files: dict[str, str | None], wanted: dict[str, Any], what: str,
    program: ModuleType, root: Path,
) -> None:  # fmt: skip
    write(root, files)
    found = seen(program, root, **wanted)
    assert [said for said, _ in found["errors"]] == [what]
    assert all(cure for _, cure in found["errors"])


def test_an_architecture_that_nobody_knows(program: ModuleType, root: Path) -> None:
    found = seen(program, root, kind="riscv64")
    assert found["errors"] == [
        ("the architecture is riscv64", "the lab runs on x86_64 and aarch64")
    ]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["authorizedkeysfile /etc/ssh/keys/%u"], "sshd looks for keys in /etc/ssh/keys/%u alone"),
        (["allowusers root", "allowusers keeper"], "sshd lets in root, keeper alone"),
        (["authorizedkeysfile /etc/ssh/keys/%u %h/.ssh/authorized_keys"], None),
        (["allowusers root socklab", "authorizedkeysfile .ssh/authorized_keys"], None),
    ],
)
def test_the_engines_user_is_let_in(
    settings: list[str], what: str | None, program: ModuleType, root: Path
) -> None:
    machine = program.Machine(root, WANTED)
    machine.arch, machine.sshd = "x86_64", settings
    assert [said for said, _ in program.look(machine)["errors"]] == ([what] if what else [])


def test_what_a_removed_engine_left_is_refused_and_an_empty_folder_is_not(
    program: ModuleType, root: Path
) -> None:
    """The lab's Docker would start what is in there, and teardown would empty it."""
    (root / "var/lib/docker").mkdir()
    (root / "var/lib/containerd").mkdir()
    assert seen(program, root)["errors"] == []
    write(root, {
        "var/lib/docker/volumes/x": "", "var/lib/containerd/x": "", "etc/docker/key.json": "",
    })  # fmt: skip
    (docker, containerd) = seen(program, root)["errors"]
    assert docker[0] == (
        "docker.service is not there, and what it kept is: /var/lib/docker, /etc/docker/key.json"
    )
    assert docker[1] == (
        "move that away, or purge its package if nobody wants it: the lab would start what is in "
        "it, and teardown remove it"
    )
    assert containerd[0] == (
        "containerd.service is not there, and what it kept is: /var/lib/containerd"
    )
    machine = program.Machine(root, WANTED)
    machine.arch, machine.units = "x86_64", {"docker.service", "containerd.service"}
    assert program.look(machine)["errors"] == []
    write(root, {"etc/socklab/before.json": '{"lab": "bench"}'})
    assert seen(program, root)["errors"] == [], "half a start of this lab"


def test_a_full_disk(program: ModuleType, root: Path) -> None:
    ((what, _),) = seen(program, root, disk_gib=10**9)["errors"]
    assert what.endswith(" GiB free in /var/lib, needed 1000000000")


def test_everything_is_said_at_once(program: ModuleType, root: Path) -> None:
    write(root, {"proc/1/comm": "init", "proc/meminfo": "MemTotal: 1024 kB"})
    assert len(seen(program, root, cpus=[77], skew_s=9.0)["errors"]) == 4


def test_modules_on_disk_are_enough(program: ModuleType, root: Path) -> None:
    machine = program.Machine(root, WANTED)
    names = ["net/bridge/bridge", "drivers/net/veth", "net/netfilter/nf_tables"]
    write(root, {
        "proc/kallsyms": None,
        f"lib/modules/{machine.kernel}/modules.dep": "".join(
            f"kernel/{name}.ko.xz: kernel/x.ko\n" for name in names
        ),
        "sys/module/x_tables/refcnt": "1",
    })  # fmt: skip
    assert seen(program, root)["errors"] == []


def listening(root: Path, port: int, process: str) -> None:
    (root / "proc/net/tcp").write_text(
        "header\n"
        f"   0: 0B00A8C0:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 4711 1 0\n"
        f"   1: 0B00A8C0:{port:04X} 0100007F:1 01 0:0 00:0 0 0 0 4712 1 0\n"
    )
    write(root, {"proc/77/comm": process})
    (root / "proc/77/fd").mkdir()
    (root / "proc/77/fd/3").symlink_to("socket:[4711]")


def test_a_port_that_somebody_holds(program: ModuleType, root: Path) -> None:
    listening(root, 8301, "nginx")
    found = seen(program, root)
    assert found["errors"] == [("port 8301, needed by consul, is held by nginx", "stop nginx")]


def test_a_program_of_the_labs_name_is_its_own_only_where_the_lab_has_been(
    program: ModuleType, root: Path
) -> None:
    listening(root, 5000, "docker-registry"[:15])
    ((what, _),) = seen(program, root)["errors"]
    assert what == "port 5000, needed by docker-registry, is held by docker-registry"
    write(root, {"etc/socklab/before.json": '{"lab": "bench"}', "opt/consul/x": ""})
    assert seen(program, root)["errors"] == []


CPU = "sys/devices/system/cpu"
WARNINGS: list[tuple[dict[str, str | None], str]] = [
    ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave", f"{CPU}/cpu2/cpufreq/scaling_governor":
      "powersave"}, "the governor of CPU 1, 2 is powersave"),
    ({f"{CPU}/intel_pstate/no_turbo": "0"}, "turbo is on: clocks follow heat"),
    ({f"{CPU}/cpufreq/boost": "1"}, "turbo is on: clocks follow heat"),
    ({f"{CPU}/cpu2/topology/thread_siblings_list": "0,2"},
     "CPU 2 shares its core with CPU 0, not in lab_cpus"),
    ({"proc/88/comm": "irqbalance"}, "irqbalance moves interrupts"),
    ({"proc/stat": "cpu  400 0 50 500 0 0 0 50 0 0"},
     "5.0% of its CPU was stolen since it booted"),
    ({"run/docker.pid": "1"}, "Docker runs here: until teardown it has the lab's configuration"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "what"), WARNINGS, ids=[row[1] for row in WARNINGS])
def test_what_is_recorded(
    files: dict[str, str | None], what: str, program: ModuleType, root: Path
) -> None:
    write(root, files)
    found = seen(program, root)
    assert found["errors"] == []
    assert [said for said, _ in found["warnings"]] == [what]
    assert "; " not in what  # what joins a row's warnings


def test_whole_cores_and_a_set_governor_are_no_findings(program: ModuleType, root: Path) -> None:
    write(root, {
        f"{CPU}/cpu1/topology/thread_siblings_list": "1-2",
        f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
        f"{CPU}/intel_pstate/no_turbo": "1",
    })  # fmt: skip
    assert seen(program, root)["warnings"] == []


def test_an_untested_system_is_let_in_when_asked_and_says_so(
    program: ModuleType, root: Path
) -> None:
    write(root, {"etc/os-release": "ID=ubuntu\nVERSION_ID=24.04\nPRETTY_NAME='Ubuntu 24.04'\n"})
    found = seen(program, root, allow_untested=True)
    assert found["errors"] == []
    assert found["untested"] is True
    assert found["warnings"][0][0] == "untested system: Ubuntu 24.04"
    json.dumps(found)


def test_a_machine_with_an_older_python_is_told_what_it_is(root: Path) -> None:
    """Ansible asks nothing of a Python before 3.8; such a one knows no ``tuple[str, str]``."""

    generic = ("dict", "frozenset", "list", "set", "tuple", "type")
    older = {name: partial(getattr(builtins, name)) for name in generic}
    names: dict[str, Any] = {"__name__": "look", "__builtins__": vars(builtins) | older}
    exec(compile(ast.parse(FILE.read_text(), feature_version=(3, 8)), FILE, "exec"), names)
    names["sys"] = SimpleNamespace(version_info=(3, 8, 10), version="3.8.10 (default, ...)")
    write(root, {"etc/os-release": 'ID=ubuntu\nVERSION_ID="20.04"\nPRETTY_NAME="Ubuntu 20.04.6"\n'})
    machine = names["Machine"](root, WANTED)
    machine.arch = "x86_64"
    assert [what for what, _ in names["look"](machine)["errors"]] == [
        "python3 is 3.8.10, the runner needs 3.11",
        "the system is Ubuntu 20.04.6; tried are Debian 12 and 13",
    ]
