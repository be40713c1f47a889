"""The supervisor of the combined container: its configuration and what it starts."""

from __future__ import annotations

import configparser
import shlex

import pytest
import webjob


def programs(**variables: object) -> configparser.ConfigParser:
    job = webjob.render(path="combined", **variables)
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(webjob.templates(job)["local/supervisord.conf"])
    return parser


def environment(section: configparser.SectionProxy) -> dict[str, str]:
    """As supervisord reads it: NAME="value" with commas between."""
    pairs = shlex.split(section["environment"].replace(",", " "))
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("instances", webjob.INSTANCES)
def test_programs_are_the_instances_and_the_proxy(instances: int) -> None:
    names = [f"program:app-{number}" for number in range(instances)]
    parsed = programs(instances=instances)
    assert parsed.sections() == ["supervisord", *names, "program:proxy"]
    for number in range(instances):
        section = parsed[f"program:app-{number}"]
        assert section["command"] == (
            "/usr/bin/gunicorn --config /srv/socklab/gunicorn.conf.py --backlog 2048"
        )
        assert section["directory"] == "/srv/socklab"


def test_it_stays_in_the_foreground_and_writes_no_log_of_its_own() -> None:
    section = programs()["supervisord"]
    assert section["nodaemon"] == "true"
    assert section["logfile"] == "/dev/null"
    assert section["pidfile"].startswith("/tmp/")


@pytest.mark.parametrize("instances", webjob.INSTANCES)
def test_instances_get_what_containers_of_their_own_would_get(instances: int) -> None:
    factors = {"instances": instances, "workers": 3, "response_bytes": 2048}
    parsed = programs(**factors)
    tasks = webjob.tasks(webjob.render(path="sharedvolume", **factors))
    for number in range(instances):
        name = f"app-{number}"
        assert environment(parsed[f"program:{name}"]) == tasks[name]["Env"]


def test_proxy_is_started_with_the_same_arguments_as_alone() -> None:
    alone = webjob.tasks(webjob.render(path="sharedvolume"))["proxy"]["Config"]["args"]
    assert shlex.split(programs()["program:proxy"]["command"]) == ["/usr/sbin/nginx", *alone]
