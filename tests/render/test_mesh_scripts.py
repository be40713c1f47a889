"""``/local/load`` and ``/local/ready``: the shell takes them, and their words arrive as written.

The programs that they start are not needed here: stand-ins write down what they are given.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import meshjob
import pytest
from meshjob import GRID, PASSWORD

SCRIPTS = ("local/load", "local/ready")
INSIDE = [(workload, path) for workload, path in GRID if workload != "web"]
PROGRAMS = ("sysbench", "mariadb", "stream")
# The image's /bin/sh is dash; so is Debian's here.
SHELL = "/bin/sh"


def scripts(workload: str, path: str) -> dict[str, str]:
    files = meshjob.files(meshjob.tasks(meshjob.render(workload, path))["load"])
    return {name: meshjob.fill(files[name]) for name in SCRIPTS}


def started(script: str, folder: Path, *arguments: str) -> list[str]:
    """What a script starts, by stand-ins that print a line a word."""
    (folder / "secrets").mkdir()
    programs = folder / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        stand_in = programs / name
        stand_in.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "${0##*/}" "$@"\n')
        stand_in.chmod(0o755)
    file = folder / "script"
    file.write_text(script.replace("/secrets", str(folder / "secrets")))
    result = subprocess.run(
        [SHELL, file, *arguments],
        cwd=folder,
        env={"PATH": f"{programs}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.replace(str(folder), "").splitlines()


@pytest.mark.parametrize(("workload", "path"), INSIDE)
@pytest.mark.parametrize("name", SCRIPTS)
def test_shell_takes_it(workload: str, path: str, name: str) -> None:
    text = scripts(workload, path)[name]
    assert text.startswith("#!/bin/sh\n")
    assert text.endswith("\n")
    result = subprocess.run(
        [SHELL, "-n"], input=text, capture_output=True, text=True, timeout=10, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("workload", "path"), INSIDE)
def test_scripts_can_be_started(workload: str, path: str) -> None:
    for template in meshjob.tasks(meshjob.render(workload, path))["load"]["Templates"]:
        started_itself = template["DestPath"] in SCRIPTS
        assert template["Perms"] == ("0755" if started_itself else "0644")


def test_sysbench_gets_its_options_and_no_password(tmp_path: Path) -> None:
    words = started(scripts("database", "mesh-unix")["local/load"], tmp_path, "--time=1", "a b")
    assert words == [
        # sysbench looks for the files of TLS where it is started.
        "/secrets",
        "sysbench",
        "oltp_point_select",
        "--config-file=/secrets/sysbench.cnf",
        "--table-size=10000",
        "--db-ps-mode=disable",
        "--mysql-socket=/alloc/tmp/upstream.sock",
        "--histogram=on",
        "--percentile=99",
        "--time=1",
        "a b",
        "run",
    ]


def test_sysbench_speaks_tls_when_told(tmp_path: Path) -> None:
    words = started(scripts("database", "tcp-tls")["local/load"], tmp_path)
    # In 1.0 the option is on or off; it takes no mode, as a later one does.
    assert [word for word in words if "ssl" in word] == ["--mysql-ssl=on"]


@pytest.mark.parametrize("path", ["mesh-unix", "tcp-tls"])
def test_readiness_is_an_answer_from_the_table(path: str, tmp_path: Path) -> None:
    words = started(scripts("database", path)["local/ready"], tmp_path)
    assert words[1] == "mariadb"
    # It counts only as the first option.
    assert words[2] == "--defaults-extra-file=/secrets/client.cnf"
    assert words[-1] == "--execute=SELECT id FROM sbtest.sbtest1 WHERE id = 1"
    secure = {"--ssl", "--ssl-ca=/secrets/cacert.pem", "--ssl-verify-server-cert"}
    assert {word for word in words if "ssl" in word} == (secure if path == "tcp-tls" else set())


def test_stream_gets_its_options(tmp_path: Path) -> None:
    words = started(scripts("stream", "mesh-unix")["local/load"], tmp_path, "--flows", "4")
    assert words[1:] == [
        "stream",
        "send",
        "unix:/alloc/tmp/upstream.sock",
        "--message-bytes",
        "32768",
        "--direction",
        "to",
        "--flows",
        "4",
    ]


def test_stream_asks_by_ping(tmp_path: Path) -> None:
    words = started(scripts("stream", "tcp")["local/ready"], tmp_path)
    assert words[1:] == ["stream", "ping", "tcp:198.18.0.13:12000"]


def test_both_clients_of_the_database_have_the_password() -> None:
    files = meshjob.files(meshjob.tasks(meshjob.render("database", "mesh-unix"))["load"])
    assert files["secrets/sysbench.cnf"] == f"mysql-user=bench\nmysql-password={PASSWORD}\n"
    assert files["secrets/client.cnf"].splitlines()[:3] == [
        "[client]",
        "user=bench",
        f"password={PASSWORD}",
    ]
