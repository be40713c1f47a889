"""Claims: the files that ship, bad files, and what becomes of a claim beside a verdict."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from synthetic_dataset import Campaign, add_campaign
from typer.testing import CliRunner, Result

from analysis.__main__ import app
from analysis.claims import FOLDER, Claim, ClaimError, find_claim, read_claim, read_claims
from analysis.dataset import open_dataset
from analysis.errors import UnknownNameError
from analysis.replicate import outcome, size
from analysis.summary import analyse
from analysis.verdict import Verdict, Word
from collector.plan.experiment import load_experiment

ROOT = Path(__file__).parents[2]
WHOLE = """\
says = "a socket is faster"
source = "somebody, one run"
metric = "throughput_rps"
band = 0.15

[printed]
unit = "requests/s"
arm = 120
baseline = 100

[here]
experiment = "web"
arm = "sharedvolume"
baseline = "tcp-loopback"
differs = "all"
"""
CELLS = [{"host": "lab-2", "variant": "", "tool": "ab", "concurrency": 1}]
BRIDGES = {"tcp-bridge": 1.0, "sharedvolume-bridge": 1.1, "combined-bridge": 1.0}


def claim_of(text: str, tmp_path: Path) -> Claim:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return read_claim(path)


@pytest.mark.parametrize("claim", read_claims(), ids=lambda claim: claim.name)
def test_a_claim_that_ships_is_about_a_declared_contrast(claim: Claim) -> None:
    if claim.here is None:
        assert claim.not_here
        return
    experiment = load_experiment(ROOT / "experiments" / f"{claim.here.experiment}.yml")
    assert (claim.here.arm, claim.here.baseline) in experiment.contrasts()
    loads = {(one.tool, c) for one in experiment.spec.load for c in one.concurrency}
    cell = claim.here.cell
    wanted, _, mode = str(cell.get("tool", "")).partition("-")
    assert any(wanted in ("", tool) and cell.get("concurrency", c) == c for tool, c in loads)
    if size := str(cell.get("offered", "")).removesuffix(" B").replace(",", ""):
        sizes = experiment.spec.variables[f"{mode}_bytes"]
        assert size in str(sizes).split(",")
    factor, _, level = str(cell.get("variant", "=")).partition("=")
    assert not factor or level in [str(one).lower() for one in experiment.spec.cross[factor]]


def test_the_row_that_contradicts_itself_is_told() -> None:
    """705.55 requests/s at one connection is 1.417 ms; 1.871 were printed."""
    assert {one.name for one in read_claims() if one.consistent is False} == {
        "local-docker-combined"
    }
    (row,) = [one for one in read_claims() if one.name == "local-docker-combined"]
    assert row.printed is not None
    assert (row.printed.arm, row.printed.arm_latency_ms) == (705.55, 1.871)


def test_directions_follow_from_what_was_printed() -> None:
    of = {one.name: one for one in read_claims()}
    assert of["fargate-x86-sharedvolume"].ratio == pytest.approx(394.55 / 447.57)
    assert not of["fargate-x86-sharedvolume"].says_more
    assert of["flask-docker-published"].says_more
    assert (of["nat-is-not-free"].ratio, of["nat-is-not-free"].says_more) == (None, False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("throughput_rps", "througput_rps", "mine.toml:3: metric 'througput_rps' is unknown; is"),
        ("arm = 120", "arm = -120", "mine.toml:8: printed.arm: Input should be greater than 0"),
        ("arm = 120", "arm = nan", "mine.toml:8: printed.arm"),
        ("arm = 120", "", "printed.arm: Field required"),
        ("unit = ", "units = ", "mine.toml:7: printed.units: unknown key"),
        ("band = 0.15", "", "a band where there is a ratio"),
        ("band = 0.15", "band = 0.15\nmore = true", "one of [printed], published_ratio and more"),
        ("band = 0.15", 'band = 0.15\nnot_here = "no"', "either [here] or not_here"),
        ('differs = "all"', 'differs = "all"\ncell = { host = "x" }', "cell.host"),
        ("[printed]", "[printed", "mine.toml: not TOML"),
    ],
)
def test_a_bad_file_is_named_by_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert claim_of(WHOLE, tmp_path).says_more
    with pytest.raises(ClaimError) as refused:
        claim_of(WHOLE.replace(old, new), tmp_path)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_name_that_is_not_there_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="is 'flask-unix' meant"):
        find_claim("flask-uinx")


@pytest.fixture
def verdict(tmp_path: Path) -> Verdict:
    add_campaign(tmp_path, Campaign(histograms=False))
    return analyse(open_dataset(tmp_path), "web").by_contrast("throughput_rps")[0]


@pytest.mark.parametrize(
    ("word", "ratio", "low", "high", "expected"),
    [
        ("different", 1.25, 1.2, 1.3, ("confirmed", "of that size")),
        ("different", 1.05, 1.03, 1.04, ("confirmed", "smaller")),
        ("different", 1.6, 1.5, 1.7, ("confirmed", "larger")),
        ("different", 0.9, 0.85, 0.95, ("contradicted", None)),
        ("equivalent", 1.0, 0.99, 1.01, ("contradicted", None)),
        ("inconclusive", 1.02, 0.9, 1.3, ("undetectable", None)),
        ("inconclusive", 1.02, None, None, ("undetectable", None)),
    ],
)
def test_what_becomes_of_20_percent(
    tmp_path: Path, verdict: Verdict, word: Word, ratio: float, low: float | None,
    high: float | None, expected: tuple[str, str | None],
) -> None:  # fmt: skip
    ours = dataclasses.replace(verdict, word=word, ratio=ratio, low=low, high=high, margin=0.02)
    claim = claim_of(WHOLE, tmp_path)
    assert (outcome(claim, ours), size(claim, ours)) == expected


def test_no_difference_contradicts_only_what_its_band_keeps_outside_the_margin(
    tmp_path: Path, verdict: Verdict
) -> None:
    none = dataclasses.replace(verdict, word="equivalent", ratio=1.0, low=0.99, high=1.01)
    small = claim_of(WHOLE.replace("arm = 120", "arm = 105"), tmp_path)
    assert outcome(small, none) == "undetectable"
    less = claim_of(WHOLE.replace("arm = 120", "arm = 60"), tmp_path)
    assert outcome(less, none) == "contradicted"
    direction = WHOLE.replace("band = 0.15", "more = true").split("[printed]")[0]
    here = "[here]" + WHOLE.split("[here]")[1]
    assert outcome(claim_of(direction + here, tmp_path), none) == "undetectable"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replicate", *map(str, arguments)], prog_name="analysis")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = Campaign(
        "web-published-1", "web-published", arms=BRIDGES, cells=CELLS, blocks=10, noise=0.004,
        histograms=False,
    )  # fmt: skip
    add_campaign(tmp_path, made)
    return tmp_path


def test_all_claims_have_their_place(state: Path) -> None:
    done = run("--all", "--state", state, "--format", "json")
    assert done.exit_code == 0, done.output
    found = {one["claim"]: one for one in json.loads(done.stdout)}
    stands = {name: one["stands"] for name, one in found.items()}
    assert stands.keys() == {path.stem for path in FOLDER.glob("*.toml")}
    assert stands["local-docker-sharedvolume"] == "confirmed"
    assert stands["fargate-x86-sharedvolume"] == "contradicted"
    assert stands["fargate-x86-combined"] == "undetectable"
    assert stands["flask-unix"] == "not measured"
    assert found["flask-unix"]["why"] == "measure it: make lab experiment=web-full"
    assert stands["php-fpm-unix"] == "not runnable here"
    table = run("--all", "--state", state).stdout
    for said in ("Measured here", "Not measured", "Not runnable here", "(contradicts"):
        assert said in table


def test_one_claim_and_ones_own_file(state: Path, tmp_path: Path) -> None:
    one = run("fargate-x86-sharedvolume", "--state", state, "--format", "csv")
    assert len(one.stdout.splitlines()) == 2
    mine = tmp_path / "mine.toml"
    own = WHOLE.replace('"web"', '"web-published"').replace('"tcp-loopback"', '"tcp-bridge"')
    mine.write_text(own.replace('"sharedvolume"', '"sharedvolume-bridge"'))
    found = json.loads(run(mine, "--state", state, "--format", "json").stdout)
    assert [(one["claim"], one["stands"], one["size"]) for one in found] == [
        ("mine", "confirmed", "of that size")
    ]


def test_a_claim_about_a_cell_that_was_not_measured(tmp_path: Path) -> None:
    made = Campaign("web-published-1", "web-published", arms=BRIDGES, histograms=False)
    add_campaign(tmp_path, made)
    found = json.loads(run("fargate-x86-combined", "--state", tmp_path, "--format", "json").stdout)
    assert found[0]["stands"] == "not measured"
    assert "has no such cell" in found[0]["why"]


def test_a_campaign_without_a_good_run_leaves_its_claims_with_the_reason(tmp_path: Path) -> None:
    dead = {"state": "invalid"}
    made = Campaign(
        "web-published-1", "web-published", arms=BRIDGES, run_values=dead, histograms=False
    )
    add_campaign(tmp_path, made)
    done = run("--all", "--state", tmp_path, "--format", "json")
    assert done.exit_code == 0, done.output
    found = {one["claim"]: one for one in json.loads(done.stdout)}
    assert found["fargate-x86-combined"]["stands"] == "not measured"
    assert "has no good run" in found["fargate-x86-combined"]["why"]


def test_a_claim_file_that_cannot_be_read_keeps_nobody_from_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> list[Claim]:
        raise ClaimError("mine.toml:1: metrik: unknown key")

    monkeypatch.setattr("analysis.summary.read_claims", refuse)
    add_campaign(tmp_path, Campaign(histograms=False))
    assert any("mine.toml:1" in one for one in analyse(open_dataset(tmp_path), "web").warnings)


def test_what_cannot_be_asked_is_refused(tmp_path: Path, state: Path) -> None:
    assert run("--state", state).exit_code == 2
    assert run("flask-unix", "--all", "--state", state).exit_code == 2
    assert run("flask", "--state", state).exit_code == 2
    assert run("--all", "--state", tmp_path / "none").exit_code == 3
