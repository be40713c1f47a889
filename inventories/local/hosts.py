#!/usr/bin/env python3
"""The local lab as an Ansible inventory: names and addresses follow from five settings.

Settings come from the environment, so that ``ansible-playbook``, ``ansible-inventory`` and make see
the same lab: ``SOCKLAB_ID`` (default ``socklab``), ``SOCKLAB_SUBNET`` (a /24 inside 198.18.0.0/16,
default ``198.18.0.0/24``), ``SOCKLAB_HOSTS`` (2 to 16, default 3) and ``SOCKLAB_ARCHS``
(architectures beside the machine's own: ``aarch64``, ``x86_64``, separated by commas; default none)
and ``SOCKLAB_CPUS`` (CPUs of the hosts that run the topologies, separated by commas; default the
half of them that the load does not have). The first host serves the cluster and generates load, the
third is the far end of topologies that span two hosts, the others run the topologies. An
architecture that is not the machine's own is one more host, emulated. Every value printed is
literal; the hosts stage makes it true.
"""

import ipaddress
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEER = "lab-3"  # always the same one: a host that is added later changes nobody's part
EMULATED = {"aarch64": "lab-arm", "x86_64": "lab-x86"}
EMULATED_CPUS = 2
RANGE = ipaddress.IPv4Network("198.18.0.0/16")


def settings() -> tuple[str, ipaddress.IPv4Network, int, list[str], list[int]]:
    """Read and check the five settings; raises ValueError with what was expected."""
    lab = os.environ.get("SOCKLAB_ID", "socklab")
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", lab):
        raise ValueError(
            f"SOCKLAB_ID={lab!r}: expected 1 to 20 of a-z, 0-9 and inner hyphens, a letter first"
        )
    text = os.environ.get("SOCKLAB_SUBNET", "198.18.0.0/24")
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"SOCKLAB_SUBNET={text!r}: {error}") from None
    if subnet.prefixlen != 24 or not subnet.subnet_of(RANGE):
        raise ValueError(f"SOCKLAB_SUBNET={text!r}: expected a /24 inside {RANGE}")
    count = os.environ.get("SOCKLAB_HOSTS", "3")
    if not count.isdigit() or not 2 <= int(count) <= 16:
        raise ValueError(f"SOCKLAB_HOSTS={count!r}: expected a number from 2 to 16")
    archs = [arch for arch in os.environ.get("SOCKLAB_ARCHS", "").split(",") if arch]
    if not set(archs) <= set(EMULATED):
        raise ValueError(
            f"SOCKLAB_ARCHS={','.join(archs)!r}: expected some of {', '.join(EMULATED)}"
        )
    cpus = os.environ.get("SOCKLAB_CPUS", "")
    if not re.fullmatch(r"(\d{1,4}(,\d{1,4})*)?", cpus):
        raise ValueError(f"SOCKLAB_CPUS={cpus!r}: expected numbers separated by commas, as in 0,1")
    own = sorted({int(cpu) for cpu in cpus.split(",") if cpu})
    if missing := set(own) - os.sched_getaffinity(0):
        raise ValueError(
            f"SOCKLAB_CPUS={cpus!r}: this machine has no CPU {', '.join(map(str, sorted(missing)))}"
        )
    return lab, subnet, int(count), sorted(set(archs)), own


def split_cpus() -> tuple[list[int], list[int]]:
    """CPUs for (load, servers and controller) and for the topologies: halves that do not meet.

    A machine with one CPU gives the same one to both; its rows say so.
    """
    allowed = os.sched_getaffinity(0)
    cores = sorted({tuple(sorted(siblings(cpu) & allowed)) for cpu in allowed})
    half = max(1, len(cores) // 2)
    load = [cpu for core in cores[:half] for cpu in core]
    return load, [cpu for core in cores[half:] for cpu in core] or load


def siblings(cpu: int) -> set[int]:
    """CPUs that share a core with this one: load and topology never share one."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        parts = path.read_text().strip().split(",")
        spans = [part.partition("-") for part in parts]
        return {n for first, _, last in spans for n in range(int(first), int(last or first) + 1)}
    except (OSError, ValueError):
        return {cpu}


def inventory() -> dict[str, object]:
    """Build the whole inventory in the form that ``ansible-inventory --list`` reads."""
    lab, subnet, count, archs, own = settings()
    load_cpus, half = split_cpus()
    topology_cpus = own or half
    arch = os.uname().machine
    state = Path(os.environ.get("SOCKLAB_STATE", ROOT / ".lab" / lab)).absolute()
    names = [f"lab-{number}" for number in range(1, count + 1)]
    emulated = {EMULATED[other]: other for other in archs if other != arch}
    ssh = state / "ssh"
    hostvars: dict[str, object] = {
        name: {
            "ansible_host": str(subnet[10 + number]),
            "lab_index": number,
            "lab_cpus": load_cpus if number == 1 else topology_cpus,
            "lab_kind": "virtual",
            "lab_emulated": False,
            "lab_arch": arch,
            "lab_containers_subnet": f"198.19.{number}.0/24",
        }
        for number, name in enumerate(names, start=1)
    }
    for number, (name, other) in enumerate(emulated.items(), start=41):
        hostvars[name] = {
            "ansible_host": str(subnet[number]),
            "lab_index": number,
            "lab_cpus": list(range(EMULATED_CPUS)),
            "lab_kind": "virtual",
            "lab_emulated": True,
            "lab_arch": other,
            "lab_containers_subnet": f"198.19.{number}.0/24",
            # Its python takes seconds to start, and more while others are busy.
            "ansible_ssh_timeout": 60,
        }
    common = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(ssh / "id_ed25519"),
        "ansible_ssh_common_args": " ".join(
            f"-o {option}"
            for option in (
                f'UserKnownHostsFile="{ssh / "known_hosts"}"',
                "StrictHostKeyChecking=yes",
                "IdentitiesOnly=yes",
            )
        ),
        # To hosts on this machine it costs more than it saves.
        "mitogen_ssh_compression": False,
        "lab_id": lab,
        "lab_state": str(state),
        "lab_subnet": str(subnet),
        "lab_controller": str(subnet[1]),
    }
    return {
        "_meta": {"hostvars": hostvars},
        "all": {"children": ["servers", "load", "clients", "peers"], "vars": common},
        "servers": {"hosts": names[:1]},
        "load": {"hosts": names[:1]},
        "clients": {"hosts": [name for name in names[1:] if name != PEER] + list(emulated)},
        "peers": {"hosts": [name for name in names if name == PEER] + list(emulated)},
        f"arch_{arch}": {"hosts": names},
        **{f"arch_{other}": {"hosts": [name]} for name, other in emulated.items()},
    }


def main() -> int:
    """Print the inventory; exit 2 with one line on bad settings."""
    try:
        print(json.dumps(inventory(), indent=1))
    except ValueError as error:
        print(f"local inventory: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
