"""Where it was measured: facts of hosts and tools, what ran in each arm.

Input: the bindings table; its JSON columns are read as data and never evaluated. A value that is
no JSON is shown as the text that it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pandas as pd

SHOWN_VALUES: Final = 3
CONTAINER_FACTS: Final = ("host", "image", "cpus", "quota_us", "memory_limit_bytes")
CONDITION_VARIABLES: Final = (
    "keepalive",
    "tls",
)  # what moves a result most; the first line says it


def parsed(text: object) -> Any:
    """What a JSON column holds; empty where it is null, ``text`` where it is no JSON."""
    if text is None or (isinstance(text, float) and pd.isna(text)):
        return {}
    try:
        return json.loads(str(text))
    except ValueError:
        return {"text": str(text)}


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every leaf of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(v if isinstance(v, str) else json.dumps(v) for v in value)
    elif value is not None:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


def _distinct(values: Iterable[str]) -> str:
    seen = list(dict.fromkeys(values))
    more = f" and {len(seen) - SHOWN_VALUES} more" if len(seen) > SHOWN_VALUES else ""
    return "; ".join(seen[:SHOWN_VALUES]) + more


def _facts(where: str, texts: pd.Series) -> Iterator[tuple[str, str, str]]:
    facts: dict[str, list[str]] = {}
    for text in texts.dropna().unique():
        for key, value in flatten(parsed(text)):
            facts.setdefault(key, []).append(value)
    for key in sorted(facts):
        yield where, key, _distinct(facts[key])


def host_facts(bindings: pd.DataFrame, load_hosts: str) -> list[tuple[str, str, str]]:
    """(where, fact, value); a fact that changed between blocks shows its distinct values."""
    rows: list[tuple[str, str, str]] = []
    for host, group in bindings.groupby("host", sort=True):
        rows.extend(_facts(str(host), group["environment"]))
    for peer, group in bindings.dropna(subset=["peer"]).groupby("peer", sort=True):
        rows.extend(_facts(f"{peer} (peer)", group["peer_environment"]))
    rows.extend(_facts(f"{load_hosts} (load)", bindings["load_environment"]))
    return rows


def peer_kinds(bindings: pd.DataFrame) -> dict[str, str]:
    """Peer -> ``virtual, x86_64``, as its own facts say; a peer that says neither is left out."""
    found = {}
    far = bindings.dropna(subset=["peer", "peer_environment"]).drop_duplicates("peer")
    for peer, text in zip(far["peer"], far["peer_environment"], strict=True):
        facts = parsed(text)
        if isinstance(facts, dict) and {"kind", "arch"} <= facts.keys():
            found[str(peer)] = f"{facts['kind']}, {facts['arch']}"
    return found


def arm_containers(bindings: pd.DataFrame) -> list[dict[str, str]]:
    """One row an arm and task: image, CPUs, quota, memory limit as bound; empty where not said."""
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for arm, text in zip(bindings["arm"], bindings["containers"], strict=True):
        containers = parsed(text)
        for task, facts in containers.items() if isinstance(containers, dict) else ():
            own = rows.setdefault((str(arm), str(task)), {})
            for key in CONTAINER_FACTS:
                value = facts.get(key) if isinstance(facts, dict) else None
                if value is not None:
                    own.setdefault(key, []).append(dict(flatten(value, key)).get(key, ""))
    return [
        {"arm": arm, "task": task, **{key: _distinct(own.get(key, ())) for key in CONTAINER_FACTS}}
        for (arm, task), own in sorted(rows.items())
    ]


def shared_conditions(bindings: pd.DataFrame) -> list[str]:
    """``keepalive=true`` and the like, where every arm was bound with the same value."""
    shown = []
    variables = [parsed(text) for text in bindings["variables"].dropna().unique()]
    for name in CONDITION_VARIABLES:
        values = {json.dumps(v.get(name)) for v in variables if isinstance(v, dict)}
        value = values.pop() if len(values) == 1 else "null"
        if value not in ("null", "false") or (name == "keepalive" and value == "false"):
            shown.append(f"{name}={value.strip(chr(34))}")
    return shown
