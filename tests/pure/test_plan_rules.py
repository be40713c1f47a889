"""Static rules: each bad experiment beside its exact message."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collector.plan.experiment import parse_experiment
from collector.plan.findings import BadInputError
from collector.plan.inventory import parse_inventory
from collector.plan.jobfile import declared_variables
from collector.plan.rules import check, refuse_errors
from collector.plan.rules_load import blocks_needed

ROOT = Path(__file__).parents[1] / "fixtures/plan"
SMALL = (ROOT / "small.yml").read_text()
LISTING = json.loads((ROOT / "inventory.json").read_text())
EMULATED = (
    "inventory: hosts: warning: emulated, so left out: lab-arm; "
    "measured with --emulated (make arm=1)"
)


def findings(
    text: str = SMALL, listing: Mapping[str, Any] = LISTING, blocks: int | None = None
) -> list[str]:
    """Findings, less the one about the fixture's emulated host."""
    experiment = parse_experiment(text.encode(), "x")
    found = check(experiment, parse_inventory(listing), ROOT, blocks)
    return [str(finding) for finding in found if str(finding) != EMULATED]


def edited(*changes: tuple[str, str]) -> str:
    text = SMALL
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


UDS = "    variables: {path: sharedvolume}"
THIRD = UDS + "\n  third:\n    variables: {path: tcp-bridge}"
LONG = "/" + "s" * 107
BAD = [
    # arms and contrasts
    ([("  uds:\n" + UDS + "\n", "")],
     "x.yml:6:1: arms: expected at least two arms, one of them the baseline"),
    ([("baseline: tcp", "baseline: tpc")],
     "x.yml:3:1: baseline: no arm 'tpc'; did you mean 'tcp'?"),
    ([("profile: quick", "profile: quick\ncontrasts: [[uds, tcq]]")],
     "x.yml:14:13: contrasts[0]: no arm 'tcq'; did you mean 'tcp'?"),
    ([("profile: quick", "profile: quick\ncontrasts: [[uds, uds]]")],
     "x.yml:14:13: contrasts[0]: contrasts 'uds' with itself; expected two arms"),
    ([("profile: quick", "profile: quick\ncontrasts: [[uds, tcp], [tcp, uds]]")],
     "x.yml:14:25: contrasts[1]: the same two arms as contrasts[0]; keep one of them"),
    # the factor
    ([(UDS, "    variables: {path: sharedvolume, keepalive: false}")],
     "x.yml:9:3: arms.uds: differs from the baseline in keepalive, not only in path; "
     "make them equal, or say why in 'also_differs'"),
    ([(UDS, UDS + "\n    job: jobs/other.nomad.hcl")],
     "x.yml:9:3: arms.uds: differs from the baseline in job, not only in path; "
     "make them equal, or say why in 'also_differs'"),
    ([(UDS, "    variables: {keepalive: false}")],
     "x.yml:9:3: arms.uds: does not set the factor 'path'; add it to its variables"),
    ([(UDS, "    variables: {path: tcp-loopback}")],
     "x.yml:9:3: arms.uds: is the same as arm 'tcp'; change it or remove it"),
    ([(UDS, "    variables: {path: tcp-loopback, keepalive: false}\n    also_differs: why")],
     "x.yml:9:3: arms.uds: has the baseline's path; expected another one"),
    # one and the same arm on purpose
    ([("profile: quick", "profile: quick\naa: true")],
     "x.yml:9:3: arms.uds: differs from the baseline; with 'aa: true' all arms are the same"),
    # crossed factors
    ([("profile: quick", "profile: quick\ncross: {path: [a, b]}")],
     "x.yml:14:9: cross.path: is the factor in which the arms differ already"),
    ([("profile: quick", "profile: quick\ncross: {keepalive: [false, true]}")],
     "x.yml:14:9: cross.keepalive: also set in 'variables' (to True); keep one"),
    ([("profile: quick", "profile: quick\ncross: {keepalive: [false, true]}"),
      ("variables: {keepalive: true}\n", ""),
      (UDS, "    variables: {path: sharedvolume, keepalive: true}")],
     "x.yml:9:37: arms.uds.variables.keepalive: is crossed (see 'cross.keepalive'); "
     "remove it here or there"),
    ([("profile: quick", "profile: quick\ncross: {socket_path: [a, 'true', true]}")],
     "x.yml:14:34: cross.socket_path[2]: level true stands twice"),
    ([("profile: quick", "profile: quick\ncross: {socket_path: [a, 'b=c']}")],
     "x.yml:14:26: cross.socket_path[1]: level 'b=c': expected no blank, comma, quote or ="),
    # job files
    ([("job: jobs/web.nomad.hcl\n", "")],
     "x.yml:6:3: arms.tcp: no job file; name it in 'job', here or for all arms"),
    ([("jobs/web.nomad.hcl", "jobs/web.hcl")],
     "x.yml:4:1: job: expected a path such as jobs/x.nomad.hcl, got 'jobs/web.hcl'"),
    ([("jobs/web.nomad.hcl", "../jobs/web.nomad.hcl")],
     "x.yml:4:1: job: expected a path such as jobs/x.nomad.hcl, got '../jobs/web.nomad.hcl'"),
    ([("jobs/web.nomad.hcl", "jobs/none.nomad.hcl")],
     f"x.yml:4:1: job: no file jobs/none.nomad.hcl below {ROOT}"),
    ([("{keepalive: true}", "{keep_alive: true}")],
     "x.yml:5:13: variables.keep_alive: jobs/web.nomad.hcl declares no such variable; "
     "did you mean 'keepalive'?"),
    ([("{keepalive: true}", "{memory_mb: 1}")],
     "x.yml:5:13: variables.memory_mb: jobs/web.nomad.hcl declares no such variable; "
     "known: path, keepalive, socket_path, node"),
    ([("{keepalive: true}", "{cpu_cores: 1}")],
     "x.yml:5:13: variables.cpu_cores: jobs/web.nomad.hcl declares no such variable; "
     "known: path, keepalive, socket_path, node"),
    ([("{keepalive: true}", "{node: lab-2}")],
     "x.yml:5:13: variables.node: is set when the job is deployed; remove it"),
    ([("{keepalive: true}", f"{{socket_path: {LONG}}}")],
     "x.yml:5:13: variables.socket_path: 108 bytes; a Unix socket's path has at most 107; "
     "shorten it"),
    ([("profile: quick", f"cross: {{socket_path: [/a, {LONG}]}}\nprofile: quick")],
     "x.yml:13:27: cross.socket_path[1]: 108 bytes; a Unix socket's path has at most 107; "
     "shorten it"),
    # load
    ([("tool: wrk", "tool: wkr")],
     "x.yml:12:6: load[0].tool: no load tool 'wkr'; did you mean 'wrk'?"),
    ([("threads: 1", "threads: 3")],
     "x.yml:12:31: load[0].concurrency[0]: 16 connections do not divide among 3 threads; "
     "expected a multiple of 3"),
    ([("[16]", "[1, 4097]")],
     "x.yml:12:34: load[0].concurrency[1]: 4097 connections need 16388 open files (4 each), "
     "the lab allows 16384; expected at most 4096"),
    ([("[16]", "[16, 16]")],
     "x.yml:12:35: load[0].concurrency[1]: wrk at 16 stands twice; keep one, or ask the other "
     "question in an experiment of its own"),
    ([("tool: wrk", "tool: ab")],
     "x.yml:12:5: load[0]: ab closes connections and wrk keeps them; "
     "add 'keepalive: true' or false"),
    ([("tool: wrk", "tool: ab"), ("profile: quick", "profile: quick\nfailures: true")],
     "x.yml:12:6: load[0].tool: ab does not say how requests failed; with 'failures' use wrk"),
    # blocks
    ([("blocks: 8", "blocks: 8\nblocks_cap: 6")],
     "x.yml:15:1: blocks_cap: 6 is fewer than the 8 blocks of the first tranche"),
    ([("blocks: 8", "blocks: 5")],
     "x.yml:14:1: blocks: warning: 1 contrast needs at least 6 blocks; with 5 this plan can only "
     "say inconclusive"),
    ([("blocks: 8", "blocks: 6"), (UDS, THIRD)],
     "x.yml:16:1: blocks: warning: 2 contrasts need at least 7 blocks; with 6 this plan can only "
     "say inconclusive"),
    ([("blocks: 8", "blocks: 1000"), ("[16]", str(list(range(1, 65)))),
      ("profile: quick", "cross: {socket_path: [a, b, c, d, e, f]}\nprofile: quick")],
     "x.yml:15:1: blocks: 1152000 runs; at most 1000000 are planned; lower blocks, cross or load"),
    # hosts
    ([("profile: quick", "profile: quick\nhosts: [lab-2, lab-3]")],
     "x.yml:14:16: hosts[1]: 'lab-3' is no host or group of hosts in group 'clients'; "
     "did you mean 'lab-2'?"),
    ([("profile: quick", "profile: quick\nhosts: [servers]")],
     "x.yml:14:9: hosts[0]: 'servers' is no host or group of hosts in group 'clients'; "
     "known: lab-2, lab-arm"),
    ([("profile: quick", "profile: quick\nhosts: [arch_aarch64]")],
     "x.yml:14:1: hosts: warning: emulated: lab-arm; compare within the host, never across"),
]  # fmt: skip


def test_a_sound_experiment_has_no_findings() -> None:
    assert findings() == []


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_rule(changes: list[tuple[str, str]], message: str) -> None:
    assert message in findings(edited(*changes))


def test_all_rules_report_at_once() -> None:
    text = edited(("baseline: tcp", "baseline: tpc"), ("threads: 1", "threads: 3"))
    said = findings(text.replace("blocks: 8", "blocks: 2"))
    assert [line.split(":")[1] for line in said] == ["3", "12", "14"]


def test_what_also_differs_is_said_is_taken() -> None:
    changed = (
        "    variables: {path: sharedvolume, keepalive: false}\n    also_differs: as published"
    )
    assert findings(edited((UDS, changed))) == []


def test_arms_may_differ_in_their_job_file_where_that_is_the_factor() -> None:
    text = edited(
        ("factor: path", "factor: job"),
        (UDS, "    variables: {path: tcp-loopback}\n    job: jobs/other.nomad.hcl"),
    )
    assert findings(text) == [
        f"x.yml:11:5: arms.uds.job: no file jobs/other.nomad.hcl below {ROOT}"
    ]


def test_a_link_out_of_the_repository_is_no_job_file(tmp_path: Path) -> None:
    outside = tmp_path / "web.nomad.hcl"
    outside.write_text('variable "path" {}')
    root = tmp_path / "root"
    (root / "jobs").mkdir(parents=True)
    (root / "jobs/web.nomad.hcl").symlink_to(outside)
    found = check(parse_experiment(SMALL.encode(), "x"), parse_inventory(LISTING), root)
    assert any("expected a path such as jobs/x.nomad.hcl" in str(finding) for finding in found)


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "node_address",
        "host_cpus",
        "peer",
        "peer_address",
        "port",
        "image_app",
        "tls_certificate",
        "tls_key",
        "mesh_ca",
        "database_password",
    ],
)
def test_what_the_engine_sets_is_refused(name: str) -> None:
    said = f"x.yml:5:13: variables.{name}: is set when the job is deployed; remove it"
    assert said in findings(edited(("{keepalive: true}", f"{{{name}: x}}")))


@pytest.mark.parametrize("name", ["job", "program"])
def test_a_variable_is_not_called_as_a_word_of_experiments(name: str) -> None:
    said = f"x.yml:5:13: variables.{name}: is a word of experiments, which arms may differ in; "
    found = findings(edited(("{keepalive: true}", f"{{{name}: x}}")))
    assert [one for one in found if one.startswith(said)]


def test_true_and_1_are_different_values() -> None:
    arm = "    variables: {path: sharedvolume, keepalive: 1}"
    assert "differs from the baseline in keepalive" in findings(edited((UDS, arm)))[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{tool: wrk, concurrency: [16], requests: 1000}", "wrk"),
        ("{tool: ab, concurrency: [16], threads: 2, keepalive: false}", "ab"),
    ],
)
def test_a_load_that_the_tool_cannot_make_is_refused(entry: str, message: str) -> None:
    (said,) = findings(edited(("{tool: wrk, concurrency: [16], threads: 1}", entry)))
    assert said.startswith(f"x.yml:12:5: load[0]: {message}")


def test_the_cap_counts_as_blocks_and_an_override_replaces_both() -> None:
    text = edited(("blocks: 8", "blocks: 2\nblocks_cap: 6"))
    assert findings(text) == []
    assert "with 5 this plan can only say inconclusive" in findings(text, blocks=5)[0]


def test_blocks_needed_is_the_least_that_can_be_significant() -> None:
    for contrasts in range(1, 40):
        needed = blocks_needed(contrasts)
        assert contrasts * 2 / 2**needed <= 0.05 < contrasts * 2 / 2 ** (needed - 1)


def test_a_socket_path_is_measured_in_bytes() -> None:
    fits = edited(("{keepalive: true}", f"{{socket_path: /{'s' * 106}}}"))
    assert findings(fits) == []
    assert "108 bytes" in findings(edited(("{keepalive: true}", f"{{socket_path: {'é' * 54}}}")))[0]


def with_load_on(*names: str) -> dict[str, Any]:
    listing = copy.deepcopy(LISTING)
    listing["load"]["hosts"] = list(names)
    return listing


def test_one_host_alone_loads_itself_with_a_warning() -> None:
    listing = with_load_on("lab-2")
    listing["servers"]["hosts"] = ["lab-2"]
    del listing["arch_aarch64"], listing["_meta"]["hostvars"]["lab-arm"]
    said = findings(listing=listing)
    assert said == [
        "inventory: groups: warning: the only host, lab-2, loads itself; its figures include the "
        "generator",
        "inventory: lab_cpus: warning: load and topology of lab-2 share CPU 1 of one machine; "
        "set lab_cpus apart, or read the figures with care",
    ]


def test_a_host_does_not_load_itself_where_there_are_others() -> None:
    said = findings(listing=with_load_on("lab-2"))
    assert said[0] == (
        "inventory: groups: lab-2 would load itself; add another host to group 'load'"
    )
    with pytest.raises(BadInputError):
        refuse_errors(
            check(
                parse_experiment(SMALL.encode(), "x"), parse_inventory(with_load_on("lab-2")), ROOT
            )
        )


@pytest.mark.parametrize(
    ("kind", "address", "warned"),
    [
        ("virtual", "198.18.0.11", True),
        ("bare-metal", "10.0.0.1", False),
        ("bare-metal", "198.18.0.12", True),
    ],
)
def test_cpus_shared_on_one_machine_are_warned_of(kind: str, address: str, warned: bool) -> None:
    listing = with_load_on("lab-1")
    listing["_meta"]["hostvars"]["lab-1"] |= {
        "lab_cpus": [0, 1],
        "lab_kind": kind,
        "ansible_host": address,
    }
    said = findings(listing=listing)
    assert said == (
        ["inventory: lab_cpus: warning: load and topology of lab-2 share CPU 1 of one machine; "
         "set lab_cpus apart, or read the figures with care"] if warned else []
    )  # fmt: skip


@pytest.mark.parametrize(("cpus", "refused"), [([1], True), ([1, 2], False)])
def test_parts_that_are_to_be_apart_want_two_cpus(cpus: list[int], refused: bool) -> None:
    listing = copy.deepcopy(LISTING)
    listing["_meta"]["hostvars"]["lab-2"]["lab_cpus"] = cpus
    said = findings(edited(("{keepalive: true}", "{cpus: apart}")), listing=listing)
    assert [one for one in said if "'cpus: apart'" in one] == (
        ["inventory: lab_cpus: lab-2 has one CPU, and 'cpus: apart' wants two; give it more "
         "(the local lab: make lab cpus=0,1)"] if refused else []
    )  # fmt: skip


@pytest.mark.parametrize("group", ["clients", "load"])
def test_an_empty_group_is_named(group: str) -> None:
    listing = copy.deepcopy(LISTING)
    listing[group] = {}
    assert f"inventory: groups: no host in group '{group}'; add one" in findings(listing=listing)


def test_only_emulated_hosts_are_not_measured_unasked() -> None:
    listing = copy.deepcopy(LISTING)
    listing["clients"]["hosts"] = []
    (said,) = findings(listing=listing)
    assert said == (
        "x.yml:1:1: hosts: every host of group 'clients' is emulated (lab-arm); --emulated "
        "measures them all the same"
    )
    asked = edited(("profile: quick", "profile: quick\nhosts: [lab-arm]"))
    assert [line.split(": ")[2] for line in findings(asked, listing)] == ["warning"]


def test_a_star_in_a_string_hides_no_variable() -> None:
    text = '  x = "/alloc/*"\nvariable "a" {\n}\n  y = "*/z"\n  /* variable "b" {\n */'
    assert declared_variables(text) == ("a",)


PROGRAM = """\
question: What does it cost in no container?
factor: mechanism
baseline: tcp
program: [ipc, measure, "{mechanism}", "{dir}", --fork, --latency, "{bytes}"]
variables: {bytes: 64}
arms:
  tcp: {variables: {mechanism: tcp}}
  pipe: {variables: {mechanism: pipe}}
load:
  - {tool: ipc, concurrency: [1]}
profile: quick
blocks: 8
"""


def of_program(*changes: tuple[str, str]) -> list[str]:
    text = PROGRAM
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return [said for said in findings(text) if "lab_cpus" not in said]


def test_an_arm_may_be_a_program() -> None:
    assert of_program() == []
    crossed = (("variables: {bytes: 64}", "cross: {bytes: [64, 4096]}"),)
    assert of_program(*crossed) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("variables: {bytes: 64}", "job: jobs/web.nomad.hcl")],
         "program: the experiment has a 'job' too; name one here, and the other in its arms"),
        ([("[ipc, measure", "[/bin/sh, measure")],
         "program: expected the name of a program of the lab, got '/bin/sh'"),
        ([("{bytes}", "{byte}")],
         "program: {byte} is no variable of this arm; did you mean 'bytes'?"),
        ([("{mechanism: pipe}", "{mechanism: pipe, where: two}")],
         "arms.pipe.variables.where: the program does not say {where}, so this would change "
         "nothing"),
        ([("tool: ipc", "tool: wrk")],
         "program: wrk would have nothing to call; a program makes its load"),
        ([("profile: quick", "profile: quick\npeer: true")],
         "program: runs on one host, and 'peer' asks for a far end"),
        ([("profile: quick", "profile: quick\ncalls: true")],
         "program: is in no container, whose system calls could be counted"),
        ([("{variables: {mechanism: pipe}}",
           "{job: jobs/web.nomad.hcl, program: [ipc], variables: {mechanism: pipe}}")],
         "arms.pipe.program: a 'job' stands beside it; an arm is one or the other"),
        ([("{variables: {mechanism: pipe}}",
           "{program: [ipc, '{mechanism}'], variables: {mechanism: pipe}}")],
         "arms.pipe: differs from the baseline in program, not only in mechanism; "
         "make them equal, or say why in 'also_differs'"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_run_is_refused(
    changes: list[tuple[str, str]], expected: str
) -> None:
    said = of_program(*changes)
    assert any(one.endswith(expected) for one in said), said
