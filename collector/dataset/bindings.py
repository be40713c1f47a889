"""The table ``bindings``: what each deployment of a block was bound to, and where."""

from __future__ import annotations

from typing import Any

from collector.dataset.fields import (
    Body,
    as_json,
    mapping,
    maybe_mapping,
    maybe_number,
    maybe_text,
    maybe_whole,
    text,
)
from collector.dataset.header import Header

Row = dict[str, Any]


def binding_rows(header: Header) -> list[Row]:
    """Rows of the table ``bindings``: one a deployment."""
    body = header.body
    hosts = mapping(body, "hosts")
    load_facts = maybe_mapping(hosts, header.load_host) or {}
    tools = maybe_mapping(body, "tools") or {}
    environment = as_json(_environment(mapping(hosts, header.host)))
    peer = None if header.peer is None else as_json(_environment(mapping(hosts, header.peer)))
    load_environment = as_json({**_environment(load_facts), "tools": tools})
    rows = []
    for key in header.deployments:
        facts = mapping(mapping(body, "deployments"), key)
        rows.append(
            {
                "campaign": header.campaign,
                "block": header.block,
                "attempt": header.attempt,
                "deployment": text(facts, "job"),
                "arm": text(facts, "arm"),
                "copy": text(facts, "copy"),
                "host": header.host,
                "node": maybe_text(facts, "node"),
                "allocation": maybe_text(facts, "allocation"),
                "peer": header.peer,
                "peer_node": maybe_text(facts, "peer_node"),
                "peer_allocation": maybe_text(facts, "peer_allocation"),
                "endpoint": maybe_text(facts, "endpoint"),
                "sidecars": as_json(_sidecars(facts)),
                "containers": as_json(mapping(facts, "containers")),
                "images": _images(facts),
                "variables": as_json(maybe_mapping(facts, "variables") or {}),
                "environment": environment,
                "peer_environment": peer,
                "load_environment": load_environment,
                "readiness_s": maybe_number(facts, "readiness_s"),
            }
        )
    return rows


def _sidecars(facts: Body) -> Row:
    found = maybe_mapping(facts, "sidecars") or {}
    return {task: mapping(found, task) for task in found}


def _images(facts: Body) -> str | None:
    found = maybe_mapping(facts, "images")
    if found is None:
        return None
    return as_json({task: _image(mapping(found, task)) for task in found})


def _image(facts: Body) -> Row:
    return {
        "name": maybe_text(facts, "name"),
        "digest": maybe_text(facts, "digest"),
        "bytes": maybe_whole(facts, "bytes"),
        "layers": maybe_whole(facts, "layers"),
        "arch": maybe_text(facts, "arch"),
    }


def _environment(facts: Body) -> Row:
    # The environment's own keys stay on top; what the lab knows of the host lies beside them.
    known = {key: value for key, value in facts.items() if key != "environment"}
    return {**known, **(maybe_mapping(facts, "environment") or {})}
