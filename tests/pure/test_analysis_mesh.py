"""What a mesh costs: CPU by role, latency added, settings, proofs; and each tool's own words."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from synthetic_dataset import Campaign, add_campaign, write_part
from test_analysis_report import HOSTILE, page_of

from analysis.dataset import open_dataset
from analysis.mesh import Settings, references, setting_warnings
from analysis.metric import metric_of, metrics_in, metrics_of, words_of
from analysis.plan import Plan
from analysis.report import measured, render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import csv_text, tables
from analysis.terminal import show
from analysis.wording import answer, findings, proof_line

ENVOY = {
    "version": "1.36.4",
    "concurrency": 1,
    "access_log": False,
    "tracing": False,
    "ciphers": ["TLS_AES_128_GCM_SHA256"],
}
PAIR = {
    "sidecar-client": {"host": "lab-2", **ENVOY},
    "sidecar-server": {"host": "lab-3", **ENVOY},
}
HELD = {
    "proof": "no-interface",
    "claim": "The client has no interface but lo.",
    "passed": True,
    "evidence": json.dumps(["lab-2 client: lo", HOSTILE]),
}
LOST = {
    "proof": "intention",
    "claim": "Denied traffic fails.",
    "passed": False,
    "evidence": json.dumps(["200 OK"]),
}
CELL = {
    "host": "lab-2",
    "peer": "lab-3",
    "load_host": "lab-2",
    "variant": "",
    "tool": "wrk",
    "concurrency": 4,
    "requests": 20_000,
}
ARMS = {"direct": 1.0, "mesh-tcp": 0.6, "mesh-uds": 0.7}
TASKS = {
    "direct": {"load": 0.1, "app-0": 0.5},
    "mesh-tcp": {"load": 0.1, "app-0": 0.5, "sidecar-client": 0.4, "sidecar-server": 0.3},
    "mesh-uds": {"load": 0.1, "app-0": 0.5, "sidecar-client": 0.3, "sidecar-server": 0.2},
}
LATENCY = {"direct": (100e-6, 300e-6), "mesh-tcp": (180e-6, 500e-6), "mesh-uds": (150e-6, 400e-6)}


def made(state: Path, **changes: Any) -> Analysis:
    campaign = {
        "arms": ARMS,
        "cells": [CELL],
        "tasks": TASKS,
        "latency": LATENCY,
        "sidecars": {"mesh-tcp": PAIR, "mesh-uds": PAIR},
        "proofs": [HELD],
        **changes,
    }
    add_campaign(state, Campaign(**campaign))
    return analyse(open_dataset(state), "web")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return made(tmp_path_factory.mktemp("state"))


def cpu_of(analysis: Analysis, arm: str) -> dict[str, float]:
    assert analysis.mesh is not None
    own = analysis.mesh.cpu[analysis.mesh.cpu["arm"] == arm]
    return dict(zip(own["part"], own["cpu_s"], strict=True))


def terminal(analysis: Analysis) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    show(analysis, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_within_one_host_the_ciphers_stand_for_proofs(tmp_path: Path) -> None:
    page = "".join(page_of(made(tmp_path, cells=[{**CELL, "peer": None}], proofs=[])).text)
    assert "the ciphers show that the sidecars spoke" in page
    assert "was not made sure of" not in page


def test_a_variant_without_sidecars_adds_nothing(tmp_path: Path) -> None:
    """A chain of one service has no mesh, whatever its arm is called."""
    alone = {**CELL, "variant": "services=1", "sidecars": {}}
    found = made(tmp_path, cells=[alone, {**CELL, "variant": "services=2"}])
    assert found.mesh is not None
    assert {(one.cell.variant, one.sidecars) for one in found.mesh.added} == {("services=2", 2)}
    assert {one.direct for one in found.mesh.added} == {"direct"}


def test_cpu_goes_to_application_load_and_each_sidecar(found: Analysis) -> None:
    mesh, direct = cpu_of(found, "mesh-tcp"), cpu_of(found, "direct")
    requests = CELL["requests"]
    assert mesh["load or proxy"] == pytest.approx(0.1 / requests)
    assert mesh["application"] == pytest.approx(0.5 / requests)
    assert mesh["sidecar-client"] == pytest.approx(0.4 / requests)
    assert mesh["sidecar-server"] == pytest.approx(0.3 / requests)
    assert mesh["hosts together"] == pytest.approx(1.5 / requests)
    assert mesh["unattributed"] == pytest.approx(0.18 / requests)
    assert 0 < mesh["idle arms"] < 0.003 / requests
    # An arm without sidecars has none: that is no zero.
    assert set(direct) == {
        "load or proxy", "application", "unattributed", "idle arms", "hosts together",
    }  # fmt: skip


def test_the_proxy_is_the_near_end_where_the_load_comes_from_outside(tmp_path: Path) -> None:
    tasks = {arm: {"proxy": 0.2, "app-0": 0.3, "app-1": 0.4} for arm in ARMS}
    analysis = made(tmp_path, tasks=tasks, histograms=False)
    assert cpu_of(analysis, "direct")["load or proxy"] == pytest.approx(0.2 / 20_000)
    assert cpu_of(analysis, "direct")["application"] == pytest.approx(0.7 / 20_000)


def test_an_inside_load_is_a_part_and_no_part_of_the_containers_together(found: Analysis) -> None:
    own = found.cpu[found.cpu["arm"] == "mesh-tcp"].set_index("part")["cpu_s"]
    assert own["load"] == pytest.approx(0.1 / 20_000)
    assert own["containers together"] == pytest.approx(1.2 / 20_000)
    assert "load generator" not in own.index
    chart = measured.cpu(found.cpu, found.cells[0], found.arms)
    assert chart is not None
    assert "made inside, by the container load" in chart.caption


def test_latency_added_is_paired_within_blocks(found: Analysis) -> None:
    assert found.mesh is not None
    added = {(a.arm, a.quantile): a for a in found.mesh.added}
    assert set(added) == {(arm, q) for arm in ("mesh-tcp", "mesh-uds") for q in (0.5, 0.99)}
    tcp = added["mesh-tcp", 0.5]
    # The arms move together from block to block, so that nothing of it is left in the difference.
    assert (tcp.delta_s, tcp.low_s, tcp.high_s) == pytest.approx((80e-6, 80e-6, 80e-6))
    assert (tcp.direct, tcp.sidecars, tcp.n, tcp.blocks) == ("direct", 2, 8, 8)
    assert added["mesh-uds", 0.99].delta_s == pytest.approx(100e-6)


def test_p99_needs_ten_thousand_samples(tmp_path: Path) -> None:
    few = made(tmp_path / "few", cells=[{**CELL, "requests": 9_000}])
    assert few.mesh is not None
    assert {a.quantile for a in few.mesh.added} == {0.5}
    none = made(tmp_path / "none", cells=[{**CELL, "requests": 199}])
    assert none.mesh is not None
    assert none.mesh.added == ()
    assert "none is said to be added" in "".join(page_of(none).text)


def test_p99_as_a_tool_prints_it_is_not_subtracted(tmp_path: Path) -> None:
    analysis = made(tmp_path, histograms=False)
    assert analysis.mesh is not None
    assert {a.quantile for a in analysis.mesh.added} == {0.5}


def test_fewer_than_six_blocks_have_no_interval(tmp_path: Path) -> None:
    analysis = made(tmp_path, blocks=5)
    assert analysis.mesh is not None
    assert {(a.n, a.low_s) for a in analysis.mesh.added} == {(5, None)}


def test_a_mesh_arm_is_compared_with_the_direct_arm_that_is_declared(tmp_path: Path) -> None:
    made(tmp_path)
    path = next(tmp_path.glob("results/campaigns/*/plan.json"))
    plan = json.loads(path.read_text())
    contrasts = [["direct", "mesh-tcp"], ["mesh-uds", "mesh-tcp"]]
    path.write_text(json.dumps({**plan, "baseline": "mesh-tcp", "contrasts": contrasts}))
    analysis = analyse(open_dataset(tmp_path), "web")
    assert analysis.mesh is not None
    assert {(a.arm, a.direct) for a in analysis.mesh.added} == {
        ("mesh-tcp", "direct"), ("mesh-uds", "direct"),
    }  # fmt: skip


PLAN = Plan("", "tcp", (), {}, "path", {}, planned=True)
WEB = (
    ("mesh-tcp", "tcp"), ("mesh-unix", "mesh-tcp"), ("mesh-unix", "tcp-tls"),
    ("mesh-local", "unix"), ("half", "mesh-tcp"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "baseline", "expected"),
    [
        ("mesh-tcp", "tcp", ["tcp"]),
        ("mesh-unix", "tcp", ["tcp", "tcp-tls"]),
        ("mesh-local", "tcp", ["unix"]),
        ("half", "tcp", ["tcp"]),
        ("half", "mesh-tcp", ["tcp"]),
        ("alone", "tcp", []),
    ],
)
def test_contrasts_lead_to_the_direct_arms(arm: str, baseline: str, expected: list[str]) -> None:
    plan = dataclasses.replace(PLAN, contrasts=WEB, baseline=baseline)
    assert references(plan, arm, {"tcp", "tcp-tls", "unix"}) == expected


def test_a_bridge_is_no_direct_arm_and_has_its_own_cpu(tmp_path: Path) -> None:
    socat = {"load": 0.1, "app-0": 0.5, "bridge-client": 0.2, "bridge-server": 0.1}
    made(
        tmp_path,
        arms={**ARMS, "socat": 0.8},
        tasks={**TASKS, "socat": socat},
        latency={**LATENCY, "socat": (120e-6, 350e-6)},
    )
    path = next(tmp_path.glob("results/campaigns/*/plan.json"))
    plan = json.loads(path.read_text())
    plan["contrasts"].append(["mesh-uds", "socat"])
    path.write_text(json.dumps(plan))
    analysis = analyse(open_dataset(tmp_path), "web")
    assert analysis.mesh is not None
    assert {a.direct for a in analysis.mesh.added} == {"direct"}
    assert cpu_of(analysis, "socat")["bridge-client"] == pytest.approx(0.2 / 20_000)
    assert cpu_of(analysis, "socat")["application"] == pytest.approx(0.5 / 20_000)


def settings(**values: Any) -> list[Settings]:
    return [
        Settings("", arm, "sidecar-client", {"concurrency": ("1",), **given})
        for arm, given in values.items()
    ]


@pytest.mark.parametrize(
    ("given", "factor", "expected"),
    [
        ({"a": {}, "b": {}}, "path", []),
        (
            {"a": {}, "b": {"concurrency": ("2",)}},
            "path",
            ["concurrency of sidecar-client differs in more than the factor: 1 (a), 2 (b)"],
        ),
        ({"a": {}, "b": {"concurrency": ("2",)}}, "concurrency", []),
        ({"a": {}, "b": {"concurrency": ("2",)}}, "sidecar_workers", []),
        (
            {"a": {"concurrency": ("1", "2")}},
            "path",
            ["concurrency of sidecar-client differs in more than the factor: 1; 2 (a)"],
        ),
        (
            {"a": {"ciphers": ('["x", "y"]',)}, "b": {"ciphers": ("null",)}},
            "path",
            ["ciphers of sidecar-client differs in more than the factor: x, y (a), not said (b)"],
        ),
        ({"a": {"host": ('"lab-2"',)}, "b": {"host": ('"lab-3"',)}}, "path", []),
    ],
)
def test_settings_that_differ(given: Any, factor: str, expected: list[str]) -> None:
    assert list(setting_warnings(settings(**given), factor)) == expected


def test_settings_that_differ_are_a_warning_wherever_the_answer_is(tmp_path: Path) -> None:
    other = {task: {**facts, "access_log": True} for task, facts in PAIR.items()}
    analysis = made(tmp_path, sidecars={"mesh-tcp": PAIR, "mesh-uds": other}, histograms=False)
    line = "access_log of sidecar-client differs in more than the factor: false (mesh-tcp), true"
    assert line in "".join(page_of(analysis).text)
    assert "access_log of sidecar-client differs" in terminal(analysis)


def test_levels_of_a_crossed_factor_are_not_held_against_each_other(tmp_path: Path) -> None:
    cells = [{**CELL, "variant": f"access_log={on}"} for on in ("false", "true")]
    analysis = made(tmp_path, cells=cells, histograms=False)
    assert analysis.mesh is not None
    assert {one.variant for one in analysis.mesh.settings} == {c["variant"] for c in cells}
    assert analysis.mesh.warnings == ()


def test_the_answer_names_the_peer(found: Analysis, tmp_path: Path) -> None:
    assert answer(found)[0].startswith(
        "Placement same_core on lab-2 and lab-3 (virtual, x86_64), wrk, 4 connections"
    )
    assert found.cells[0].label == "lab-2 and lab-3, wrk, 4 connections"
    other = made(tmp_path / "other", peer_facts={"arch": "aarch64"}, histograms=False)
    assert "on lab-2 (virtual, x86_64) and lab-3 (virtual, aarch64), wrk" in answer(other)[0]
    cells = [CELL, {**CELL, "host": "lab-4", "peer": "lab-2"}]
    two = made(tmp_path / "two", cells=cells, histograms=False)
    assert "on lab-2 and lab-3 (virtual, x86_64); lab-4 and lab-2 (virtual, x86" in answer(two)[0]


def test_pairs_of_another_peer_say_nothing_of_the_noise_here(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(name="web-old", cells=[{**CELL, "peer": "lab-9"}], noise=0.08))
    analysis = made(tmp_path, name="web-new", started=2e9, noise=0.002, histograms=False)
    assert {t.twin.campaigns for t in analysis.twins} == {1}


def test_a_proof_that_failed_is_the_answers_first_line(tmp_path: Path) -> None:
    analysis = made(tmp_path, proofs=[HELD, LOST], histograms=False)
    assert answer(analysis)[0] == (
        "Proof failed: 1 of 2 did not hold: intention (Denied traffic fails). The figures may be "
        "of another path than the one that they name."
    )
    assert answer(analysis)[1:] == findings(analysis)
    assert "Proofs: 1 of 2 held." in terminal(analysis)
    page = page_of(analysis)
    assert "Proof failed: 1 of 2" in "".join(page.text)
    assert "did not hold" in "".join(page.text)


def test_proofs_that_held_are_shown_and_no_warning(found: Analysis) -> None:
    assert proof_line(found) is None
    text = render(found, tables(found))
    assert HOSTILE not in text
    page = page_of(found)
    assert "mesh" in page.ids
    assert "#mesh" in page.addresses
    said = "".join(page.text)
    for part in ("The client has no interface but lo.", "held", "2 lines", HOSTILE, "1.36.4"):
        assert part in said
    for part in ("CPU per request, us, by what used it", "sidecar-server", "+80.0", "TLS_AES_128"):
        assert part in said


def test_without_mesh_there_is_no_section(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(histograms=False))
    analysis = analyse(open_dataset(tmp_path), "web")
    assert analysis.mesh is None
    assert "mesh" not in page_of(analysis).ids
    assert not any(name.startswith(("mesh", "proofs", "sidecars")) for name in tables(analysis))


def test_proofs_alone_make_the_section(tmp_path: Path) -> None:
    analysis = made(tmp_path, sidecars={}, histograms=False)
    said = "".join(page_of(analysis).text)
    assert "no interface but lo" in said
    assert "by what used it" not in said


def test_quarantined_proofs_are_a_warning(tmp_path: Path) -> None:
    made(tmp_path, proofs=[], histograms=False)
    folder = tmp_path / "results" / "dataset"
    index = json.loads((folder / "index.json").read_text())
    name = index["parts"][0]["campaign"]
    row = {"name": "proofs.json", "kind": "proofs", "campaign": name, "state": "quarantined"}
    rows = [{**row, "reason": "proofs.json:1: schema"}]
    index["parts"].append(write_part(folder, "files", name, rows))
    (folder / "index.json").write_text(json.dumps(index))
    analysis = analyse(open_dataset(tmp_path), "web")
    assert "The campaign's proofs are quarantined: proofs.json:1: schema" in analysis.warnings
    assert "holds no proofs" in "".join(page_of(analysis).text)


def test_the_tables_are_csv_too(found: Analysis) -> None:
    shown = tables(found)
    latency = list(csv.DictReader(io.StringIO(csv_text(shown["mesh_latency"]))))
    assert float(latency[0]["delta_s"]) == pytest.approx(80e-6)
    assert (latency[0]["host"], latency[0]["peer"]) == ("lab-2", "lab-3")
    assert set(shown["mesh_cpu"]["per"]) == {"request"}
    assert shown["proofs"]["passed"].tolist() == [True]
    sidecars = shown["sidecars"].set_index(["arm", "task", "setting"])["value"]
    assert sidecars["mesh-tcp", "sidecar-server", "host"] == "lab-3"
    empty = csv_text(pd.DataFrame(columns=["a"]))
    assert empty == "a\n"


STREAM = {**CELL, "tool": "stream", "transfer_bytes": 5_000_000_000, "requests": 80_000}


def test_stream_counts_messages_and_gives_cpu_per_megabyte(tmp_path: Path) -> None:
    analysis = made(tmp_path, cells=[STREAM], latency={})
    assert {v.metric for v in analysis.verdicts} == {
        "throughput_rps", "transfer_bytes_per_s", "cpu_per_mb_s",
    }  # fmt: skip
    assert " % messages/s [" in answer(analysis)[1]
    assert "stream, 4 flows, " in answer(analysis)[0]
    # 1.2 s of containers over 5,000 MB.
    medians = analysis.medians[analysis.medians["metric"] == "cpu_per_mb_s"]
    assert medians.set_index(["arm", "copy"])["median"]["mesh-tcp", "a"] == pytest.approx(1.2 / 5e3)
    assert cpu_of(analysis, "mesh-tcp")["sidecar-client"] == pytest.approx(0.4 / 5_000)
    assert analysis.mesh is not None
    assert set(analysis.mesh.cpu["per"]) == {"MB"}
    page = page_of(analysis)
    said = "".join(page.text)
    assert "CPU per MB, us, by what used it" in said
    assert "transfer rate, MB/s" in said
    assert "requests/s" not in said.partition("Published results")[0]
    specs = "".join(body for kind, body in page.scripts if kind == "application/json")
    assert '"messages/s"' in specs
    assert '"CPU per MB, us"' in specs
    assert "closed loop" not in terminal(analysis)


def streamed(state: Path, experiment: str, mesh_unix: float = 1.1) -> Analysis:
    """A campaign of streams, in which ``mesh_unix`` is the true ratio of bytes a second."""
    campaign = Campaign(
        experiment=experiment,
        arms={"mesh-tcp": 1.0, "mesh-unix": mesh_unix, "tcp": 2.0},
        cells=[{"host": "lab-2", "variant": "", "tool": "stream", "concurrency": 4}],
    )
    add_campaign(state, campaign)
    return analyse(open_dataset(state), experiment)


def test_published_stream_is_judged_by_its_ratio_in_its_own_experiment(tmp_path: Path) -> None:
    (beside,) = streamed(tmp_path / "same", "mesh-stream").replications
    assert beside.claim.name == "envoy-unix-ends"
    assert beside.claim.ratio == pytest.approx(296.094 / 264.980)
    assert (beside.ours.arm, beside.ours.metric) == ("mesh-unix", "transfer_bytes_per_s")
    assert (beside.outcome, beside.size) == ("confirmed", "of that size")
    assert streamed(tmp_path / "other", "mesh-stream-full").replications == ()
    slower = streamed(tmp_path / "slower", "mesh-stream", mesh_unix=0.9)
    assert [one.outcome for one in slower.replications] == ["contradicted"]
    equal = streamed(tmp_path / "equal", "mesh-stream", mesh_unix=1.0)
    assert [one.outcome for one in equal.replications] == ["undetectable"]


def test_report_shows_the_published_stream_as_printed(tmp_path: Path) -> None:
    said = "".join(page_of(streamed(tmp_path, "mesh-stream")).text)
    assert "296.094 against 264.98 MB/s" in said
    assert "+11.7 %" in said
    assert "rests on a row that contradicts itself" not in said


def test_sysbench_counts_transactions(tmp_path: Path) -> None:
    values = {"latency_p50_s": None}
    cells = [{**CELL, "tool": "sysbench"}]
    analysis = made(tmp_path, cells=cells, latency={}, run_values=values, histograms=False)
    assert {v.metric for v in analysis.verdicts} == {
        "throughput_rps", "latency_p99_s", "cpu_per_request_s",
    }  # fmt: skip
    assert " % transactions/s [" in answer(analysis)[1]
    assert "4 threads" in answer(analysis)[0]
    assert "CPU per transaction" in terminal(analysis)


def test_cells_of_several_tools_each_have_their_own_words(tmp_path: Path) -> None:
    cells = [CELL, {**CELL, "tool": "sysbench"}]
    analysis = made(tmp_path, cells=cells, histograms=False, latency={})
    (line,) = [line for line in answer(analysis) if line.startswith("mesh-tcp vs direct: ")]
    assert [part.partition(" % ")[2].partition(" [")[0] for part in line.split("; ")[:2]] == [
        "transactions/s", "requests/s"
    ]  # fmt: skip


def test_words_by_tool() -> None:
    assert [metrics_of(tool)[0].unit for tool in ("ab", "wrk", "sysbench", "stream", "hey")] == [
        "requests/s", "requests/s", "transactions/s", "messages/s", "requests/s",
    ]  # fmt: skip
    assert words_of("stream").cpu_per == "MB"
    assert metric_of("stream", "transfer_bytes_per_s").scale * 296.094e6 == pytest.approx(296.094)
    assert [m.name for m in metrics_in(["wrk", "stream", "ab"])] == [
        "throughput_rps", "latency_p50_s", "latency_p99_s", "cpu_per_request_s",
        "transfer_bytes_per_s", "cpu_per_mb_s",
    ]  # fmt: skip
