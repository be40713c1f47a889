"""Chains of services, and messages in every format, between real containers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Lab
from test_measure import MINE, rows


def measured(lab: Lab, name: str) -> tuple[str, list[dict[str, Any]]]:
    """The campaign of an experiment, measured now, and its runs, all good.

    One of the tests' own, or one block of one that ships.
    """
    own = MINE / f"{name}.yml"
    what = [str(own)] if own.exists() else [name, "--blocks=1"]
    lab.collector("measure", *what, "--events", "plain")
    lab.collector("collect", "--state", str(lab.state))
    (campaign,) = lab.campaigns(name)
    runs = rows(lab, "runs", campaign.name)
    assert {(run["state"], run["reasons"]) for run in runs} == {("good", None)}
    return campaign.name, runs


def reported(lab: Lab, experiment: str) -> str:
    lab.run(
        "python", "-m", "analysis", "report", "--state", str(lab.state), "--experiment", experiment,
    )  # fmt: skip
    return (lab.state / "results" / "report" / experiment / "report.html").read_text()


def test_a_chain_answers_at_each_length_and_has_a_ledger(lab: Lab) -> None:
    _, runs = measured(lab, "chain")
    assert len(runs) == 15
    assert "What one more service costs" in reported(lab, "chain")


@pytest.mark.long
def test_a_chain_crosses_between_two_machines(lab: Lab) -> None:
    _, runs = measured(lab, "chain-hosts")
    assert len(runs) == 3
    assert {run["requests"] > 0 for run in runs} == {True}


@pytest.mark.long
def test_an_application_answers_whole_and_divided(lab: Lab) -> None:
    """Each part has read its record, within one process and out of eight databases."""
    campaign, runs = measured(lab, "monolith")
    assert len(runs) == 6
    bound = rows(lab, "bindings", campaign)
    parts = {(one["arm"], len(json.loads(one["containers"]))) for one in bound}
    assert parts == {("monolith", 3), ("services", 24)}


def test_a_request_has_the_spans_of_every_service_through_sidecars_too(lab: Lab) -> None:
    campaign, runs = measured(lab, "traced")
    (bound,) = [one for one in rows(lab, "bindings", campaign) if one["arm"] == "mesh"]
    envoys = json.loads(bound["sidecars"])
    assert list(envoys) == [f"sidecar-service-{number}" for number in range(4)]
    assert all(one["ciphers"] for one in envoys.values()), "each has spoken with another"
    assert "sl-" not in lab.run("consul", "intention", "list", client=True).stdout
    for run in runs:
        spans = json.loads(run["spans"])
        served = [one["service"] for one in spans if one["kind"] == "server"]
        assert served == [f"service-{number}" for number in range(4)]
        own = {one["span"]: one for one in spans}
        within = [(one, own[one["parent"]]) for one in spans if one["parent"]]
        assert len(within) == len(spans) - 1 == 6, "one came from nowhere: the first"
        assert all(one["duration_us"] < around["duration_us"] for one, around in within)
    assert "One request through the chain, tcp-loopback" in reported(lab, "traced")


def test_messages_go_in_every_format(lab: Lab) -> None:
    campaign, runs = measured(lab, "messages")
    cells = rows(lab, "cells", campaign)
    found: dict[str, set[str]] = {}
    for run in runs:
        own = [one for one in cells if one["run"] == run["run"] and one["state"] == "measured"]
        found[run["arm"]] = {one["mode"] for one in own}
        assert all(50 < one["wire_bytes"] <= one["message_bytes"] + 8 for one in own)
    every = {"encode", "decode", "exchange"}
    coded = dict.fromkeys(["json", "ujson", "msgpack", "protobuf"], every)
    assert found == {**coded, "grpc": {"exchange"}, "none": {"exchange"}}
    assert "Bytes on the wire" in reported(lab, "messages")


def test_a_look_at_the_lab_shows_its_hosts(lab: Lab) -> None:
    shown = lab.collector("top", "--once").stdout
    assert all(name in shown for name in ("lab-1", "lab-2", "lab-3"))
    assert "conn/s" in shown
