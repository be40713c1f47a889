"""What a campaign comes to: numbers, words, tables, page."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import open_dataset
from analysis.latency import quantile_curves
from analysis.report import render
from analysis.report.page import json_block
from analysis.result import Analysis
from analysis.summary import analyse, paths_of
from analysis.tables import csv_text, tables
from analysis.terminal import show
from analysis.wording import answer, gate_line

GOLDEN = Path(__file__).parents[1] / "fixtures" / "analysis" / "terminal.txt"
HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    state = tmp_path_factory.mktemp("state")
    add_campaign(state, Campaign())
    return analyse(open_dataset(state), "web")


def made(state: Path, **changes: object) -> Analysis:
    campaign = Campaign(**{"histograms": False, "blocks": 8, **changes})  # type: ignore[arg-type]
    add_campaign(state, campaign)
    return analyse(open_dataset(state), campaign.experiment)


def terminal(analysis: Analysis) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    show(analysis, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_an_arm_has_a_path_where_all_its_cells_have_the_same() -> None:
    """Else a campaign that crosses its factor with paths would be told as if it had one."""
    rows = [("one", "mesh-tcp"), ("one", "mesh-unix"), ("uds", "sharedvolume"), ("none", None)]
    assert paths_of(pd.DataFrame(rows * 2, columns=["arm", "path"])) == {"uds": "sharedvolume"}


def test_a_known_effect_comes_out_with_its_size(found: Analysis) -> None:
    uds, combined = found.by_contrast("throughput_rps")
    assert uds.word == "different"
    assert uds.low < 1.12 < uds.high
    assert combined.word == "equivalent"
    assert combined.low < 1.0 < combined.high
    cpu = found.by_contrast("cpu_per_request_s")[0]
    assert cpu.ratio == pytest.approx(1 / uds.ratio, rel=1e-3)


def test_terminal_output_is_the_golden_one(found: Analysis) -> None:
    assert terminal(found) == GOLDEN.read_text(encoding="utf-8")


def test_the_answer_names_placement_path_and_conditions_a_line_a_contrast(tmp_path: Path) -> None:
    arms = {"a": 1.0, "b": 1.2, "c": 1.0, "d": 0.9, "e": 1.0}
    values = {arm: {"path": f"tcp-{arm}"} for arm in arms}
    lines = answer(made(tmp_path, arms=arms, arm_values=values))
    assert len(lines) == 5
    assert lines[0] == (
        "Placement same_core on lab-2 (virtual, x86_64), wrk, 16 connections, keepalive=true, "
        "quick profile (first look), 8 blocks."
    )
    assert lines[1].startswith("b (path tcp-b) vs a (path tcp-a): +")
    assert lines[3].startswith("d (path tcp-d) vs a (path tcp-a): -")
    assert lines[4].startswith("e (path tcp-e) vs a (path tcp-a): ")


def test_several_cells_are_counted_in_the_answer(tmp_path: Path) -> None:
    cells = [
        {"host": "lab-2", "variant": "", "tool": tool, "concurrency": concurrency}
        for tool, concurrency in (("ab", 1), ("wrk", 1), ("wrk", 16), ("wrk", 64))
    ]
    analysis = made(tmp_path, cells=cells, noise=0.002)
    lines = answer(analysis)
    assert "ab and wrk, 1, 16 and 64 connections" in lines[0]
    assert "8 blocks a cell" in lines[0]
    assert "sharedvolume vs tcp-loopback: different (faster) in 4 of 4 cells" in lines[1]
    assert "The throughput alone is shown here" in terminal(analysis)


def test_the_gate_fails_where_the_baseline_differs_from_itself(tmp_path: Path) -> None:
    analysis = made(tmp_path, twin=1.1, profile="standard")
    assert analysis.gate_failed
    assert not analysis.quick
    assert "fails its A/A gate" in (gate_line(analysis) or "")


def test_a_noisy_history_widens_the_margin_of_the_same_hosts_and_profile(tmp_path: Path) -> None:
    new = {"name": "web-new", "started": 2e9, "noise": 0.002}
    quiet = made(tmp_path / "quiet", **new)
    add_campaign(tmp_path / "noisy", Campaign(name="web-old", noise=0.08, histograms=False))
    noisy = made(tmp_path / "noisy", **new)
    add_campaign(
        tmp_path / "other",
        Campaign(name="web-old", noise=0.08, histograms=False, profile="standard"),
    )
    other = made(tmp_path / "other", **new)
    assert quiet.verdicts[0].margin == pytest.approx(0.02)
    assert noisy.verdicts[0].margin > 0.03
    assert noisy.verdicts[0].noise_floor == pytest.approx(noisy.verdicts[0].margin)
    assert other.verdicts[0].margin == pytest.approx(0.02)


def test_blocks_that_share_a_deployment_count_once(tmp_path: Path) -> None:
    values = {
        arm: {"deployment": f"sl-{arm}"} for arm in ("tcp-loopback", "sharedvolume", "combined")
    }
    verdict = made(tmp_path, arm_values=values).verdicts[0]
    assert (verdict.n, verdict.blocks) == (1, 8)


def test_cpu_per_request_keeps_the_rest_and_the_generator_apart(found: Analysis) -> None:
    own = found.cpu[found.cpu["arm"] == "tcp-loopback"].set_index("part")["cpu_s"]
    assert set(own.index) == {
        "proxy",
        "app-0",
        "idle arms",
        "unattributed",
        "containers together",
        "load generator",
    }
    assert own["proxy"] + own["app-0"] == pytest.approx(own["containers together"])
    assert own["proxy"] / own["app-0"] == pytest.approx(2 / 3)


def test_a_null_counter_is_no_zero(tmp_path: Path) -> None:
    analysis = made(tmp_path, run_values={"containers_cpu_s": None, "unattributed_cpu_s": None})
    cpu = analysis.by_contrast("cpu_per_request_s")
    assert {(v.word, v.n, v.ratio) for v in cpu} == {("inconclusive", 0, None)}
    assert "unattributed" not in set(analysis.cpu["part"])


def test_quantiles_are_of_merged_deployments_and_stop_where_samples_end() -> None:
    cell = {
        "host": "h",
        "load_host": "l",
        "variant": "",
        "tool": "wrk",
        "concurrency": 1,
        "peer": "",
        "offered": "",
    }
    runs = pd.DataFrame(
        [
            {**cell, "run": str(i), "attempt": 1, "copy": "a", "arm": "x", "deployment": name}
            for i, name in enumerate(["one", "one", "two"])
        ]
    )
    rows = [("0", 100, 500), ("1", 200, 500), ("2", 300, 2000)]
    frame = pd.DataFrame(rows, columns=["run", "value_us", "count"]).assign(attempt=1)
    curve = quantile_curves(runs, frame).set_index("quantile")
    assert curve["deployments"].unique().tolist() == [2]
    assert curve.index.max() == 0.9  # 1000 samples in deployment one: 100 above the 90th
    assert curve.loc[0.5, "latency_s"] == pytest.approx((100 + 300) / 2 / 1e6)
    assert curve.loc[0.9, "lowest_s"] == pytest.approx(200e-6)
    assert quantile_curves(runs, frame.head(0)).empty


def test_published_claims_stand_beside_ours_as_printed(tmp_path: Path) -> None:
    analysis = made(
        tmp_path,
        experiment="web-published",
        arms={"tcp-bridge": 1.0, "sharedvolume-bridge": 1.1, "combined-bridge": 1.0},
        cells=[{"host": "lab-2", "variant": "", "tool": "ab", "concurrency": 1}],
    )
    outcomes = {one.claim.name: one.outcome for one in analysis.replications}
    assert outcomes["local-docker-sharedvolume"] == "confirmed"
    assert outcomes["fargate-x86-sharedvolume"] == "contradicted"
    assert len(outcomes) == 6
    said = " ".join("".join(page_of(analysis).text).split())
    assert "394.55 against 447.57 requests/s" in said
    assert "rests on a row that contradicts itself" in said


def test_a_result_that_contradicts_itself_and_other_bodies_are_named(tmp_path: Path) -> None:
    values = {"combined": {"little_ratio": 1.32, "transfer_bytes": 10**9}}
    analysis = made(tmp_path, arm_values=values)
    assert [c.arm for c in analysis.little if not c.holds] == ["combined"]
    assert "answer with different lengths" in analysis.warnings[0]
    assert "rate x latency / concurrency is 1.32, not 1" in terminal(analysis)


def test_csv_is_exact_guarded_and_null_is_empty(found: Analysis) -> None:
    verdicts = list(csv.DictReader(io.StringIO(csv_text(tables(found)["verdicts"]))))
    assert float(verdicts[0]["ratio"]) == found.verdicts[0].ratio
    assert verdicts[0]["verdict" if "verdict" in verdicts[0] else "word"] == "different"
    assert verdicts[0]["blocks_needed"] == ""
    text = csv_text(pd.DataFrame({"a": ["=cmd", "+1", "-1", "@x", "\tx", "ok"], "b": -1.5}))
    assert [row[0] for row in csv.reader(io.StringIO(text))][1:] == [
        "'=cmd", "'+1", "'-1", "'@x", "'\tx", "ok",
    ]  # fmt: skip
    assert "'-1.5" not in text


class Page(html.parser.HTMLParser):
    """Collects what a browser would see: scripts with their kinds, addresses, text."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.wanted: list[str] = []
        self.kind: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses.extend(v for k, v in attrs if k in ("src", "href", "action") and v)
        self.ids.extend(v for k, v in attrs if k == "id" and v)
        self.wanted.extend(v for k, v in attrs if k == "data-spec" and v)
        if tag == "script":
            self.kind = found.get("type") or "text/javascript"
            self.scripts.append((self.kind, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.kind = None

    def handle_data(self, data: str) -> None:
        if self.kind is None:
            self.text.append(data)
        else:
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)


def page_of(analysis: Analysis) -> Page:
    page = Page()
    page.feed(render(analysis, tables(analysis)))
    return page


def test_the_page_is_one_file_with_charts_sections_and_the_answer(found: Analysis) -> None:
    page = page_of(found)
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    assert {"answer", "verdicts", "cells", "aa", "validity", "published", "environment"} <= set(
        page.ids
    )
    assert page.wanted == [
        "forest-0", "forest-1", "forest-2", "forest-3", "strip-1", "latency-1", "cpu-1", "twins",
    ]  # fmt: skip
    assert set(page.wanted) <= set(page.ids)
    specs = [json.loads(text) for kind, text in page.scripts if kind == "application/json"]
    assert len(specs) == 8
    assert not any("$schema" in spec for spec in specs)
    text = "".join(page.text)
    assert answer(found)[0] in text
    assert "first look" in text
    assert "python -m collector collect --rebuild --state /" in text
    assert f"--experiment web --campaign {found.campaign}" in text
    assert "No published claim that is known here is about this experiment." in text


def test_labels_stay_text_wherever_they_stand(tmp_path: Path) -> None:
    arms = {"tcp-loopback": 1.0, HOSTILE: 1.1, "{{ lookup('pipe', 'id') }}": 1.0}
    cells = [{"host": HOSTILE, "variant": "", "tool": "wrk", "concurrency": 16}]
    analysis = made(tmp_path, arms=arms, cells=cells, question=HOSTILE, histograms=True)
    analysis = dataclasses.replace(analysis, warnings=(HOSTILE,))
    text = render(analysis, tables(analysis))
    assert HOSTILE not in text
    page = page_of(analysis)
    programs = [body for kind, body in page.scripts if kind == "text/javascript"]
    assert len(programs) == 2
    assert not any("alert(1)" in body for body in programs)
    assert HOSTILE in "".join(page.text)
    assert "{{ lookup('pipe', 'id') }}" in "".join(page.text)
    strip = next(json.loads(b) for k, b in page.scripts if k == "application/json" and "block" in b)
    assert HOSTILE in json.dumps(strip)


def test_the_policy_names_the_hash_of_each_script(found: Analysis) -> None:
    text = render(found, {})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert policy[1].count("'sha256-") == 2


@pytest.mark.parametrize("value", [HOSTILE, "<!--", "&amp;", "\u2028", 'a"b\\'])
def test_json_in_a_script_survives_and_cannot_end_it(value: str) -> None:
    block = json_block([value])
    assert not set("<>&\u2028") & set(block)
    assert json.loads(block) == [value]
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_block(float(np.nan))
