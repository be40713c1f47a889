"""Experiment files: every bad input beside its exact message."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.plan.experiment import load_experiment, parse_experiment
from collector.plan.findings import BadInputError
from collector.plan.yamlfile import DEPTH_LIMIT, SIZE_LIMIT

SMALL = (Path(__file__).parents[1] / "fixtures/plan/small.yml").read_text()
LABEL = "expected a name of 1 to 40 of a-z, 0-9 and inner hyphens"


def messages(text: str | bytes) -> list[str]:
    """Complaints about a file of this text; fails where there are none."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(BadInputError) as caught:
        parse_experiment(data, "x", "experiments/x.yml")
    return str(caught.value).split("\n")


def edited(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_small_experiment_is_read() -> None:
    read = parse_experiment(SMALL.encode(), "small")
    assert read.spec.baseline == "tcp"
    assert read.variables_of("uds") == {"keepalive": True, "path": "sharedvolume"}
    assert read.job_of("uds") == "jobs/web.nomad.hcl"
    assert read.contrasts() == (("uds", "tcp"),)
    assert read.spec.load[0].keepalive is None
    assert read.where("arms", "uds", "variables", "path") == (
        "small.yml:10:17: arms.uds.variables.path"
    )


def test_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    same = b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()
    assert parse_experiment(same, "x").spec == parse_experiment(SMALL.encode(), "x").spec


BAD = [
    # unknown, missing, duplicate keys
    ("    variables: {path: sharedvolume}", "    vrs: {path: sharedvolume}",
     "10:5: arms.uds.vrs: unknown key; did you mean 'variables'?"),
    ("profile: quick", "profile: quick\nqqq: 1",
     "14:1: qqq: unknown key; known: question, factor, baseline, job, program, variables, arms, "
     "cross, contrasts, load, profile, blocks, blocks_cap, hosts, peer, emulated, aa, failures, "
     "calls"),
    ("threads: 1}", "duration: 10}",
     "12:36: load[0].duration: unknown key; the measured time comes from 'profile'"),
    ("threads: 1}", "thread: 1}",
     "12:36: load[0].thread: unknown key; did you mean 'threads'?"),
    ("blocks: 8\n", "", "1:1: blocks: missing key; add it"),
    ("tool: wrk, ", "", "12:5: load[0].tool: missing key; add it"),
    ("factor: path\n", "factor: path\nfactor: tls\n",
     "3:1: key 'factor' stands twice; keep one of them"),
    ("  uds:\n", "  tcp:\n", "9:3: key 'tcp' stands twice; keep one of them"),
    # wrong values
    ("blocks: 8", "blocks: eight", "14:1: blocks: expected a whole number, got 'eight'"),
    ("blocks: 8", "blocks: 8.5", "14:1: blocks: expected a whole number, got 8.5"),
    ("blocks: 8", "blocks: true", "14:1: blocks: expected a whole number, got True"),
    ("blocks: 8", "blocks: 0", "14:1: blocks: expected at least 1, got 0"),
    ("blocks: 8", "blocks: 1001", "14:1: blocks: expected at most 1000, got 1001"),
    ("blocks: 8", "blocks:", "14:1: blocks: expected a whole number, got None"),
    ("profile: quick", "profile: fast",
     "13:1: profile: expected 'quick', 'standard' or 'thorough', got 'fast'"),
    ("[16]", "16", "12:17: load[0].concurrency: expected a list, got 16"),
    ("[16]", "[]", "12:17: load[0].concurrency: expected at least 1 of them, got []"),
    ("[16]", "[4, 0]", "12:34: load[0].concurrency[1]: expected at least 1, got 0"),
    ("threads: 1}", "keepalive: yes}",
     "12:36: load[0].keepalive: expected true or false, got 'yes'"),
    ("threads: 1}", "requests: 1e3}",
     "12:36: load[0].requests: expected a whole number, got 1000.0"),
    ("{keepalive: true}", "[keepalive]",
     "5:1: variables: expected a mapping (key: value), got ['keepalive']"),
    ("{keepalive: true}", "{keepalive: [1]}",
     "5:13: variables.keepalive: expected text, a number, true or false, got [1]"),
    ("{keepalive: true}", "{keepalive: }",
     "5:13: variables.keepalive: expected text, a number, true or false, got None"),
    ("{keepalive: true}", "{keepalive: .inf}",
     "5:13: variables.keepalive: expected a finite number, got inf"),
    ("{keepalive: true}", '{keepalive: "a\\0b"}',
     "5:13: variables.keepalive: expected one printable line of at most 1000 characters"),
    ("{keepalive: true}", "{1: true}", "5:13: variables.1: key 1 is no text; put it in quotes"),
    ("{keepalive: true}", "{a b: true}",
     "5:13: variables.a b: expected a name of letters, digits, _ and -, a letter first, got 'a b'"),
    ("Is a Unix socket faster than loopback TCP?", '""',
     "1:1: question: expected a sentence of at most 1000 printable characters"),
    ("profile: quick", "contrasts: [[uds]]\nprofile: quick",
     "13:13: contrasts[0]: expected at least 2 of them, got ['uds']"),
    ("profile: quick", "cross: {tls: [true]}\nprofile: quick",
     "13:9: cross.tls: expected at least 2 of them, got [True]"),
    # names
    ("  uds:", "  UDS:", f"9:3: arms.UDS: {LABEL}, got 'UDS'"),
    ("  uds:", "  ../x:", f"9:3: arms.../x: {LABEL}, got '../x'"),
    ("  uds:", "  -oProxyCommand=x:", f"9:3: arms.-oProxyCommand=x: {LABEL}, "
     "got '-oProxyCommand=x'"),
    ("  uds:", "  '</script>':", f"9:3: arms.</script>: {LABEL}, got '</script>'"),
    ("  uds:", f"  {'u' * 41}:", f"9:3: arms.{'u' * 41}: {LABEL}, got '{'u' * 41}'"),
    # YAML that is refused as such
    ("factor: path", "factor: &f path", "2:9: anchor &f is not accepted; remove it"),
    ("factor: path", "factor: !!str path",
     "2:9: tag 'tag:yaml.org,2002:str' is not accepted; remove it"),
    ("factor: path", "factor: !!python/object/apply:os.system [id]",
     "2:9: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not accepted; remove it"),
    ("{keepalive: true}", "{<<: {keepalive: true}}",
     "5:13: merge key << is not accepted; write the keys out"),
    ("{keepalive: true}", "{? [a] : 1}",
     "5:15: a mapping or list as a key; expected a plain word"),
    ("blocks: 8", "blocks: 8\n---\nblocks: 9", "15:1: a second document; expected one a file"),
    ("blocks: 8", "blocks: [8", None),
    ("question", "%YAML 1.1\n---\nquestion",
     "2:1: directives (%YAML, %TAG) are not accepted; remove the line"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_key_or_value_names_its_line(old: str, new: str, message: str | None) -> None:
    said = messages(edited(old, new))
    if message is None:
        assert len(said) == 1
        assert said[0].startswith("experiments/x.yml:15:1: not YAML: ")
    else:
        assert f"experiments/x.yml:{message}" in said


def test_all_problems_are_reported_at_once() -> None:
    text = edited("factor: path", "factor: path\nfactor: path").replace("quick", "fast")
    text = text.replace("tool: wrk", "tol: wrk").replace("blocks: 8", "blocks: 0")
    said = [message.removeprefix("experiments/x.yml:") for message in messages(text)]
    assert said == [
        "3:1: key 'factor' stands twice; keep one of them",
        "13:5: load[0].tool: missing key; add it",
        "13:6: load[0].tol: unknown key; did you mean 'tool'?",
        "14:1: profile: expected 'quick', 'standard' or 'thorough', got 'fast'",
        "15:1: blocks: expected at least 1, got 0",
    ]


def test_alias_bomb_is_refused_before_it_grows() -> None:
    bomb = "a: &a [x, x, x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}, *{before}, *{before}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    started = time.process_time()
    said = messages(bomb)
    assert time.process_time() - started < 1
    assert said[-1] == "experiments/x.yml:2:8: alias *a is not accepted; write the value out"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_limited_before_anything_is_built(opening: str) -> None:
    said = messages("question: " + opening * 20_000 if opening != "- " else "- " * 20_000)
    assert f"nested deeper than {DEPTH_LIMIT} levels" in said[-1]


def test_size_is_limited() -> None:
    said = messages(b"#" * (SIZE_LIMIT + 1))
    assert said == ["experiments/x.yml: larger than 262144 bytes, the most that is read"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ":1:1: expected a mapping with the keys question, factor, "),
        (b"- 1\n", ":1:1: expected a mapping with the keys question, factor, "),
        (b"a: 1\nb: \xff\n", ":2: byte 0xff is no UTF-8; save the file as UTF-8"),
        (b"a: \x00\n", ": not YAML: "),
        (b"blocks: " + b"9" * 5000, ": Exceeds the limit"),
        ("question".encode("utf-16"), ":1: byte 0xff is no UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_experiment_at_all(data: bytes, message: str) -> None:
    assert messages(data)[0].startswith(f"experiments/x.yml{message}")


def test_the_file_names_the_experiment(tmp_path: Path) -> None:
    path = tmp_path / "A b.yml"
    path.write_text(SMALL)
    with pytest.raises(BadInputError, match="the file's name is the experiment's: 1 to 40 of"):
        load_experiment(path)
    with pytest.raises(BadInputError, match=r"absent\.yml: cannot be read: No such file"):
        load_experiment(tmp_path / "absent.yml")


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, len(SMALL)),
    st.integers(0, 12),
    st.text("{}[]:,-&*!|>%@`'\"# \n\ta1~?", max_size=6),
)
@example(at=0, cut=0, put="- {\n")
def test_any_other_text_is_read_or_refused_never_a_crash(at: int, cut: int, put: str) -> None:
    text = SMALL[:at] + put + SMALL[at + cut :]
    try:
        parse_experiment(text.encode(), "x")
    except BadInputError as error:
        assert error.findings
        assert all(str(finding).startswith("x.yml") for finding in error.findings)
