"""Daily commands on a lab: doctor, status, ssh, logs, mesh, shell. They change nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import wraps
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from collector.campaign.cluster import Cluster, read_environment
from collector.campaign.deployment import ends_of
from collector.campaign.errors import NOT_READY, CampaignError, NotReadyError
from collector.campaign.folder import Campaign
from collector.campaign.mesh import ENDS, Mesh
from collector.campaign.placement import Placement
from collector.campaign.preflight import read_preflight
from collector.lock import holder
from collector.plan.findings import BadInputError
from collector.plan.inventory import Inventory, load_inventory
from collector.plan.plan import Plan

GIB: Final = 1 << 30
DISK_GIB: Final = 8
MEMORY_GIB: Final = 4
EMULATED_GIB: Final = 7  # roles/virtual_hosts: the machine's memory, and the emulator's own
EMULATED_MINUTES: Final = 9  # to join a lab; its images and binaries, once, are minutes more
CONSOLE: Final = Console(markup=False, emoji=False, highlight=False)
InventoryPath = Annotated[Path, typer.Option("--inventory", "-i", help="As for ansible-playbook.")]
LOCAL: Final = Path("inventories/local")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (doctor, status, ssh, logs, mesh, shell):
        app.command(command.__name__)(coded(command))


def coded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the project's errors into one line and their exit codes."""

    @wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except BadInputError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        except CampaignError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.code) from None

    return run


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "socklab" / "bin"


def _emulated(inventory: Inventory) -> int:
    """Emulated hosts that run on this machine."""
    return sum(host.emulated and host.kind == "virtual" for host in inventory.hosts.values())


def _rows(inventory: Inventory) -> list[tuple[str, str, str]]:
    """(what, state, what that means) of this machine; a state of 'missing' stops a lab."""
    virtual = any(host.kind == "virtual" for host in inventory.hosts.values())
    existing = inventory.lab_state
    while not existing.exists():
        existing = existing.parent
    disk = shutil.disk_usage(existing).free / GIB
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    memory = int(fields["MemAvailable"].split()[0]) / (1 << 20)
    needed = MEMORY_GIB + EMULATED_GIB * _emulated(inventory)
    version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    rows = [
        (
            "CPUs",
            str(len(os.sched_getaffinity(0))),
            "two keep load and topology apart",
        ),
        ("memory", f"{memory:.1f} GiB", "missing" if memory < needed else "enough"),
        ("disk", f"{disk:.0f} GiB free", "missing" if disk < DISK_GIB else "enough"),
        ("cgroups", f"v{version}", "both layouts are read"),
        ("KVM", "yes" if Path("/dev/kvm").exists() else "no", "not needed by this inventory"),
    ]
    if virtual:
        root = os.geteuid() == 0
        rows.append(("privilege", "root" if root else "none", "needed" if root else "missing"))
        podman = shutil.which("podman")
        rows.append(("podman", podman or "none", "there" if podman else "will be installed by apt"))
    cached = sorted(path.name for path in _cache().glob("*")) if _cache().exists() else []
    for product in ("nomad", "consul"):
        found = [name for name in cached if name.startswith(product)]
        go = shutil.which("go")
        meaning = "there" if found else ("about 5 minutes to build" if go else "from the vendor")
        rows.append((product, ", ".join(found) or "none cached", meaning))
    return rows


def doctor(inventory: InventoryPath = LOCAL) -> None:
    """Say what this machine has, what is missing, and how long a lab would take."""
    hosts = load_inventory(inventory)
    table = Table("what", "here", "meaning", box=None)
    rows = _rows(hosts)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)
    up = (hosts.lab_state / "lab.env").exists()
    minutes = 4 if up else 8 + 5 * sum("build" in row[2] for row in rows)
    minutes += EMULATED_MINUTES * _emulated(hosts)
    CONSOLE.print(
        f"lab {hosts.lab_id}: {'up' if up else 'not up'}; make lab takes about {minutes} minutes. "
        "What it would change: ansible-playbook lab.yml --check"
    )
    for name, why in read_preflight(hosts.lab_state).missing().items():
        CONSOLE.print(f"{name} was missing when the hosts stage looked: it {why}", soft_wrap=True)
    if any(row[2] == "missing" for row in rows):
        raise typer.Exit(NOT_READY)


def status(inventory: InventoryPath = LOCAL) -> None:
    """Show who works on the lab, its hosts in Consul and Nomad, and its campaigns."""
    hosts = load_inventory(inventory)
    held = holder(hosts.lab_state)
    CONSOLE.print(f"lab {hosts.lab_id}: {'in use by ' + held['command'] if held else 'idle'}")
    for path in sorted(hosts.lab_state.glob("results/campaigns/*/plan.json")):
        campaign = Campaign(path.parent, Plan.from_json(path.read_bytes()))
        done, planned = len(campaign.sealed()), len(campaign.plan.blocks)
        CONSOLE.print(f"campaign {campaign.plan.campaign}: {done} of {planned} blocks")
    table = Table("host", "address", "groups", "Consul", "Nomad", box=None)
    members = Mesh(hosts.lab_state).members()
    cluster = Cluster(hosts.lab_state)
    nodes = cluster.nodes()
    for name, host in sorted(hosts.hosts.items()):
        groups = [group for group, members_of in hosts.groups.items() if name in members_of]
        server = "servers" in groups and name not in nodes
        table.add_row(
            name,
            host.address,
            ", ".join(sorted(groups)),
            "member" if name in members else "absent",
            "server" if server else nodes.get(name, "absent"),
        )
    CONSOLE.print(table)
    for line in _placement_lines(cluster.system_placements()):
        CONSOLE.print(line, soft_wrap=True)


def _placement_lines(placements: list[Placement]) -> list[str]:
    """One line a system job, and one for each host on which it does not run."""
    lines = []
    for job, hosts in groupby(placements, key=attrgetter("job")):
        each = list(hosts)
        runs = [one.host for one in each if one.why_not is None]
        names = f": {', '.join(runs)}" if runs else ""
        lines.append(f"system job {job} runs on {len(runs)} of {len(each)} hosts{names}")
        lines += [f"  {one.host}: {one.why_not}" for one in each if one.why_not is not None]
    return lines


def ssh(host: str, inventory: InventoryPath = LOCAL) -> None:
    """Log in to a host as Ansible does."""
    listed = json.loads(
        subprocess.run(
            ["ansible-inventory", "-i", str(inventory), "--host", _known(host, inventory)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    argv = ["ssh", *shlex.split(listed.get("ansible_ssh_common_args", ""))]
    if key := listed.get("ansible_ssh_private_key_file"):
        argv += ["-i", key]
    user = listed.get("ansible_user")
    argv.append(f"{user}@{listed['ansible_host']}" if user else listed["ansible_host"])
    os.execvp(argv[0], argv)


def _known(host: str, inventory: Path) -> str:
    hosts = load_inventory(inventory).hosts
    if host not in hosts:
        raise NotReadyError(f"no host {host!r}; known: {', '.join(sorted(hosts))}")
    return host


def logs(arm: str, inventory: InventoryPath = LOCAL) -> None:
    """Show the last lines of every task of an arm that is deployed now."""
    cluster = Cluster(load_inventory(inventory).lab_state)
    found = [
        job for job in cluster.ours() if re.fullmatch(rf".*-b\d+-a\d+-{re.escape(arm)}-[ab]", job)
    ]
    if not found:
        raise NotReadyError(f"no deployment of {arm!r} is up; up: {cluster.ours() or 'none'}")
    for job in found:
        for line in cluster.job_lines(job):
            CONSOLE.print(line)


def mesh(
    job: Annotated[str, typer.Argument(help="Id of a Nomad job whose services have sidecars.")],
    *,
    inventory: InventoryPath = LOCAL,
) -> None:
    """Say what in the mesh keeps a job's services from the next one; exit 1 if anything does."""
    state = load_inventory(inventory).lab_state
    known = Cluster(state).job(job)
    ends = ends_of(known) if known else []
    found = Mesh(state).diagnose(job, ends or ENDS)
    for line in found:
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{job}: all ends are registered and healthy, and each may call the next")


def shell(inventory: InventoryPath = LOCAL) -> None:
    """Start a shell with the lab's addresses, CA, tokens and programs."""
    state = load_inventory(inventory).lab_state
    environment = {**os.environ, **read_environment(state)}
    environment["PATH"] = f"{state / 'bin'}:{environment['PATH']}"
    program = environment.get("SHELL", "/bin/sh")
    os.execvpe(program, [program], environment)
