"""Each gate: what it catches, what it lets pass, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blockfiles import Body, Campaign, Change, container_id, wrk_output

from collector.dataset.counters import observe
from collector.dataset.gates import errors, little, no_data, short_run
from collector.dataset.header import Header, read_header_body
from collector.dataset.planned import parse_plan
from collector.dataset.read import read_block

STANDARD = Campaign(blocks=1)
QUICK = Campaign(blocks=1, profile={"name": "quick", "warmup_s": 1.0, "measure_s": 2.0})
UNSEEN = observe({})
PROXY = container_id(1, 1, "tcp-loopback", "a", "proxy")
IDLE = container_id(1, 1, "tcp-loopback", "b", "app")


def row_of(
    tmp_path: Path, change: Change, header: Change | None = None, made: Campaign = STANDARD
) -> Any:
    path = made.write_block(tmp_path, 1, change={1: change}, change_header=header)
    rows = read_block(path, parse_plan(made.plan_bytes())).runs
    assert [row["state"] for row in rows[1:]] == ["good", "good"]
    return rows[0]


def text(old: str, new: str) -> Change:
    def change(body: Body) -> None:
        assert old in body["measure"]["stdout"]
        body["measure"]["stdout"] = body["measure"]["stdout"].replace(old, new)

    return change


def errors_line(line: str) -> Change:
    return text("Requests/sec:", f"{line}\nRequests/sec:")


def test_failures_that_are_asked_about_leave_a_run_good(tmp_path: Path) -> None:
    def asked(body: Body) -> None:
        body["failures"] = True

    change = text("Requests/sec:", "  Non-2xx or 3xx responses: 9000\nRequests/sec:")
    assert row_of(tmp_path / "gate", change)["state"] == "invalid"
    row = row_of(tmp_path / "asked", change, asked)
    assert (row["state"], row["errors_status"]) == ("good", 9000)


def test_what_an_arm_grew_to_is_in_its_row_and_a_refusal_is_told(tmp_path: Path) -> None:
    def grown(running: float | None, problem: str | None) -> Any:
        def change(body: Body) -> None:
            body["scaled"] = {
                "group": "application", "from": 1, "to": 2, "running_s": running, "served_s": None,
                "problem": problem,
            }  # fmt: skip

        return row_of(tmp_path / str(running), change)

    row = grown(1.5, None)
    assert (row["scaled_to"], row["scale_running_s"], row["scale_served_s"]) == (2, 1.5, None)
    assert (row["state"], row["warnings"]) == ("good", None)
    assert row["containers_cpu_s"] is None, "the new instance's is not known"
    assert row["unattributed_cpu_s"] is not None
    assert "not scaled: no room" in grown(None, "no room")["warnings"]


def test_counted_system_calls_are_the_measured_deployments_and_a_refusal_is_told(
    tmp_path: Path,
) -> None:
    def traced(body: Body) -> None:
        body["traced"] = {"measure": body["measure"], "calls": {"proxy": {"read": 7, "write": 8}}}

    def refused(body: Body) -> None:
        body["traced"] = {"error": "lab-2: strace: ptrace(PTRACE_SEIZE, 7): not permitted"}

    path = STANDARD.write_block(tmp_path, 1, change={1: traced, 2: refused})
    rows = read_block(path, parse_plan(STANDARD.plan_bytes()))
    first, second, third = rows.runs
    assert first["traced_requests"] == first["requests"] > 0
    assert (second["traced_requests"], third["traced_requests"]) == (None, None)
    assert "system calls not counted: lab-2: strace" in second["warnings"]
    own = [row for row in rows.containers if row["run"] == first["run"] and row["calls"]]
    assert [(row["container"], row["measured"], row["calls"]) for row in own] == [
        ("proxy", True, '{"read":7,"write":8}')
    ]
    assert not any(row["calls"] for row in rows.containers if row["run"] != first["run"])


def test_an_open_loop_that_falls_behind_is_told_and_little_is_not_asked(tmp_path: Path) -> None:
    def paced(rate: int) -> Any:
        load = {**STANDARD.load, "rate_rps": rate, "offered": "70 % of peak"}
        return row_of(tmp_path / str(rate), lambda body: None, made=replace(STANDARD, load=load))

    kept, late = paced(100), paced(1_000_000)
    assert (kept["offered"], kept["offered_rps"]) == ("70 % of peak", 100)
    assert kept["little_ratio"] is None
    assert "behind the schedule" not in (kept["warnings"] or "")
    assert late["state"] == "good"
    assert "behind the schedule: " in late["warnings"]
    closed = row_of(tmp_path / "closed", lambda body: None)
    assert (closed["offered"], closed["offered_rps"]) == ("", None)
    assert closed["little_ratio"] is not None


def exit_code(body: Body) -> None:
    body["measure"]["exit_code"] = -9


def busy_generator(body: Body) -> None:
    body["measure"]["cpu_user_s"] = 1.5


def stolen(body: Body) -> None:
    body["after"]["lab-2"]["cpu"]["1"][7] += 50


def throttle(container: str) -> Change:
    def change(body: Body) -> None:
        body["after"]["lab-2"]["cgroups"][container]["throttled_count"] = 3

    return change


def other_container(body: Body) -> None:
    body["containers_after"]["app"]["id"] = "0" * 64


def started_again(body: Body) -> None:
    body["containers_after"]["app"]["started_at"] = "later"


def gone(body: Body) -> None:
    del body["containers_after"]["app"]


def reboot(when: str, host: str) -> Change:
    def change(body: Body) -> None:
        body[when][host]["boot_id"] = "another"

    return change


def step(body: Body) -> None:
    body["after"]["lab-2"]["wall_ns"] -= 3600 * 10**9


def step_of_generator(body: Body) -> None:
    body["measure"]["ended_wall_ns"] += 60_000_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (exit_code, "exit_code -9"),
        (errors_line("  Non-2xx or 3xx responses: 500"), "errors 500 of"),
        (errors_line("  Socket errors: connect 0, read 60, write 0, timeout 0"), "errors 60 of"),
        (busy_generator, "client_bound generator used 114.3% of its cores"),
        (stolen, "steal 20.1% of the CPUs"),
        (throttle(PROXY), "throttled proxy of sl-b0001-tcp-loopback-a, 3 periods"),
        (throttle(IDLE), "throttled app of sl-b0001-tcp-loopback-b, 3 periods"),
        (other_container, "restarted app: another container"),
        (started_again, "restarted app: started at later"),
        (gone, "restarted app: gone after the run"),
        (reboot("after", "lab-2"), "rebooted lab-2"),
        (reboot("before", "lab-1"), "rebooted lab-1"),
        (step, "clock_step -3600.000 s on lab-2"),
        (step_of_generator, "clock_step +0.060 s on lab-1 while measuring"),
    ],
)
def test_gate_fails(tmp_path: Path, change: Change, reason: str) -> None:
    row = row_of(tmp_path, change)
    assert row["state"] == "invalid"
    assert row["reasons"].startswith(reason)
    # Kept: the figures are there all the same.
    assert row["throughput_rps"] > 0


@pytest.mark.parametrize(
    "change",
    [
        errors_line("  Non-2xx or 3xx responses: 40"),
        errors_line("  Socket errors: connect 0, read 40, write 0, timeout 0"),
    ],
)
def test_a_thousandth_of_errors_passes(tmp_path: Path, change: Change) -> None:
    assert row_of(tmp_path, change)["state"] == "good"


def test_throttling_within_a_declared_limit_passes(tmp_path: Path) -> None:
    def limit(header: Body) -> None:
        facts = header["deployments"]["tcp-loopback/a"]["containers"]["proxy"]
        facts["quota_us"] = 50_000

    row = row_of(tmp_path, throttle(PROXY), limit)
    assert (row["state"], row["throttled_count"]) == ("good", 3)


@pytest.mark.parametrize(("change", "word"), [(busy_generator, "client_bound"), (stolen, "steal")])
def test_quick_profile_warns(tmp_path: Path, change: Change, word: str) -> None:
    row = row_of(tmp_path, change, made=QUICK)
    assert (row["state"], row["reasons"]) == ("good", None)
    assert row["warnings"].startswith(word)


def test_quick_profile_still_judges_the_rest(tmp_path: Path) -> None:
    assert row_of(tmp_path, exit_code, made=QUICK)["state"] == "invalid"


def test_all_failed_gates_are_named(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        exit_code(body)
        gone(body)
        body["measure"]["stdout"] = ""

    row = row_of(tmp_path, change)
    assert row["state"] == "quarantined"
    words = [reason.split()[0].rstrip(":") for reason in row["reasons"].split("; ")]
    assert (words[0], words[-2:]) == ("truncated", ["exit_code", "restarted"])


def test_interrupted_wrk_is_a_short_run(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        output = wrk_output(1, mean_us=702, seconds=1.0)
        body["measure"]["stdout"], body["measure"]["files"]["histogram"]["text"] = output

    row = row_of(tmp_path, change)
    assert (row["state"], row["exit_code"]) == ("invalid", 0)
    assert row["reasons"] == "short_run 1.00 of 2.00 s"


def test_zero_requests_is_no_data(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["measure"]["files"] = {}
        body["measure"]["stdout"] = (
            "Running 2s test @ http://198.18.0.12:24001/\n"
            "  1 threads and 16 connections\n"
            "  Thread Stats   Avg      Stdev     Max   +/- Stdev\n"
            "    Latency     0.00us    0.00us   0.00us    -nan%\n"
            "    Req/Sec     0.00      0.00     0.00      -nan%\n"
            "  Latency Distribution\n"
            "     50%    0.00us\n     75%    0.00us\n     90%    0.00us\n     99%    0.00us\n"
            "  0 requests in 2.10s, 0.00B read\n"
            "Requests/sec:      0.00\n"
            "Transfer/sec:       0.00B\n"
        )

    row = row_of(tmp_path, change)
    assert (row["state"], row["reasons"]) == ("invalid", "no_data")
    assert (row["requests"], row["latency_mean_s"], row["little_ratio"]) == (0, None, None)


def header(load: Body) -> Header:
    made = Campaign(blocks=1, load={**STANDARD.load, **load})
    return read_header_body(made.header(1), parse_plan(made.plan_bytes()))


def plain(**columns: Any) -> dict[str, Any]:
    names = ("requests", "requests_failed", "duration_s", "planned_s", "little_ratio", "scaled_to")
    parts = ("connect", "read", "write", "timeout", "receive", "length", "exception", "status")
    parts += ("corrupt", "ignored", "reconnect")
    return {**dict.fromkeys([*names, *(f"errors_{part}" for part in parts)]), **columns}


def test_errors_of_ab_are_counted_once() -> None:
    reset = plain(
        requests=1000, requests_failed=3, errors_receive=1, errors_length=1, errors_exception=1
    )
    assert errors(reset, {}, header({}), UNSEEN) == "errors 3 of 1000 requests (requests_failed 3)"
    assert errors({**reset, "requests": 3000}, {}, header({}), UNSEEN) is None
    assert errors(plain(requests=0, errors_connect=16), {}, header({}), UNSEEN) is not None
    assert (
        errors(plain(requests=10), {}, header({}), UNSEEN) is None
    )  # nothing known, nothing judged


def test_a_reload_for_a_new_instance_may_cost_each_connection_a_request() -> None:
    grown = plain(requests=3000, requests_failed=16, scaled_to=2, concurrency=16)
    assert errors(grown, {}, header({}), UNSEEN) is None
    assert errors({**grown, "requests_failed": 17}, {}, header({}), UNSEEN) is not None
    assert errors({**grown, "scaled_to": None}, {}, header({}), UNSEEN) is not None


def test_errors_of_tools_that_run_inside() -> None:
    ignored = plain(requests=1000, errors_ignored=2, errors_reconnect=2)
    # A connection is made again after a statement that failed, which is counted already.
    assert errors(ignored, {}, header({}), UNSEEN) == "errors 2 of 1000 requests (ignored 2)"
    assert errors({**ignored, "requests": 2000}, {}, header({}), UNSEEN) is None
    corrupt = plain(requests=100, errors_corrupt=1)
    assert errors(corrupt, {}, header({}), UNSEEN) == "errors 1 of 100 requests (corrupt 1)"


def test_planned_requests() -> None:
    by_requests = header({"requests": 1000})
    assert (
        short_run(plain(requests=999), {}, by_requests, UNSEEN) == "short_run 999 of 1000 requests"
    )
    assert short_run(plain(requests=1000, duration_s=0.1), {}, by_requests, UNSEEN) is None
    assert short_run(plain(duration_s=1.8, planned_s=2.0), {}, header({}), UNSEEN) is None
    assert short_run(plain(), {}, by_requests, UNSEEN) is None


def test_little_needs_keepalive() -> None:
    off = plain(little_ratio=1.11)
    assert (
        little(off, {}, header({}), UNSEEN)
        == "little throughput x latency is 1.110 of the concurrency"
    )
    assert little(off, {}, header({"keepalive": False}), UNSEEN) is None
    assert little(plain(little_ratio=0.91), {}, header({}), UNSEEN) is None
    assert little(plain(), {}, header({}), UNSEEN) is None


def test_no_data_is_not_unknown() -> None:
    assert no_data(plain(requests=0), {}, header({}), UNSEEN) == "no_data"
    assert no_data(plain(), {}, header({}), UNSEEN) is None


@pytest.mark.parametrize(
    ("guests", "emulated", "state"),
    [
        ({"lab-arm": "running"}, False, "invalid"),
        ({"lab-arm": "paused"}, False, "good"),
        ({"lab-arm": "running"}, True, "good"),
        (None, False, "good"),
    ],
)
def test_an_emulated_host_that_ran_meanwhile_spoils_others_and_not_itself(
    tmp_path: Path, guests: dict[str, str] | None, emulated: bool, state: str
) -> None:
    def header(body: Body) -> None:
        body["hosts"]["lab-2"]["emulated"] = emulated
        if guests is not None:
            body["guests"] = guests

    path = STANDARD.write_block(tmp_path, 1, change_header=header)
    rows = read_block(path, parse_plan(STANDARD.plan_bytes())).runs
    assert {row["state"] for row in rows} == {state}
    if state == "invalid":
        assert rows[0]["reasons"] == "guest lab-arm ran on the same machine"
