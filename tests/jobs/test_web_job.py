"""``jobs/web.nomad.hcl`` with every var-file: parsed and validated without an agent."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import webjob
from webjob import GROWING, IMAGES, INSTANCES, JOB, NULL, PATHS, VAR_FILES

SECOND = 10**9
BRIDGED = [path for path in PATHS if path.endswith("-bridge") or path == "tcp-published"]
COMBINED = ["combined", "combined-bridge"]
GRID = list(itertools.product(PATHS, INSTANCES))


@pytest.mark.parametrize("file", VAR_FILES, ids=lambda path: path.stem)
def test_var_file_validates(file: Path) -> None:
    given = [f"-var-file={file}", *webjob.options(dict(IMAGES))]
    result = webjob.run_nomad("job", "validate", *given, JOB)
    assert result.returncode == 0, result.stdout
    assert "Job validation successful" in result.stdout


@pytest.mark.parametrize("file", VAR_FILES, ids=lambda path: path.stem)
def test_images_and_topology_come_from_two_var_files(file: Path, tmp_path: Path) -> None:
    images = tmp_path / "images.hcl"
    images.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in IMAGES.items()))
    result = webjob.attempt(images, file)
    assert result.returncode == 0, result.stdout
    grows = {"instances_max": 4} if file.stem == GROWING else {}
    assert json.loads(result.stdout)["Job"] == webjob.render(path=file.stem, **grows)


def test_files_are_formatted() -> None:
    result = webjob.run_nomad("fmt", "-check", "-recursive", "jobs/")
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(("path", "instances"), GRID)
def test_tasks_follow_from_path_and_instances(path: str, instances: int) -> None:
    tasks = webjob.tasks(webjob.render(path=path, instances=instances))
    apps = [f"app-{number}" for number in range(instances)]
    assert list(tasks) == (["combined"] if path in COMBINED else [*apps, "proxy"])
    for name, task in tasks.items():
        kind = "app" if name.startswith("app-") else name
        assert task["Config"]["image"] == IMAGES[f"image_{kind}"]
        assert task["Config"]["cap_drop"] == ["all"]
        # The application is up before the proxy looks up its name, and stays up beside it.
        waits = {"Hook": "prestart", "Sidecar": True} if kind == "app" else None
        assert task["Lifecycle"] == waits


@pytest.mark.parametrize("instances", INSTANCES)
def test_the_null_server_is_the_proxy_alone(instances: int) -> None:
    job = webjob.render(path=NULL, instances=instances)
    assert list(webjob.tasks(job)) == ["proxy"]
    (written,) = webjob.templates(job).values()
    assert "upstream" not in written and "proxy_pass" not in written


def test_what_can_grow_is_a_group_of_its_own_that_nginx_follows() -> None:
    job = webjob.render(path=GROWING, instances_max=3, work="cpu")
    front, grows = job["TaskGroups"]
    assert [(group["Name"], group["Count"]) for group in (front, grows)] == [
        ("web", 1), ("application", 1)
    ]  # fmt: skip
    assert (front["Scaling"], grows["Scaling"]["Max"]) == (None, 3)
    (service,) = grows["Services"]
    assert (service["Name"], service["PortLabel"], service["Provider"]) == (
        "web-application", "app", "nomad"
    )  # fmt: skip
    (app,), (proxy,) = grows["Tasks"], front["Tasks"]
    assert app["Lifecycle"] is None, "a group needs a task that is not there to prepare another"
    assert (app["Env"]["BIND"], app["Env"]["WORK"]) == ("0.0.0.0:8000", "cpu")
    (written,) = proxy["Templates"]
    assert 'nomadService "web-application"' in written["EmbeddedTmpl"]
    assert (written["ChangeMode"], written["ChangeScript"]["FailOnError"]) == ("script", False)
    shell, flag, begin, _ = proxy["Config"]["entrypoint"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert begin.endswith('exec /usr/sbin/nginx "$@"')
    assert proxy["Config"]["args"] == ["-c", "/local/nginx.conf"]


def test_an_instance_without_a_limit_of_its_own_has_none() -> None:
    for limit, reserved in ((0, 10), (15_000, 15_000)):
        job = webjob.render(path="tcp-loopback", app_cpu_limit=limit)
        found = resources(job)
        assert found == {"app-0": (reserved, 256, limit > 0), "proxy": (10, 256, False)}


@pytest.mark.parametrize("path", PATHS)
def test_allocation_never_moves_or_comes_back(path: str) -> None:
    job = webjob.render(path=path, node="lab-7")
    group = webjob.group(job)
    pinned = {"LTarget": "${node.unique.name}", "RTarget": "lab-7", "Operand": "="}
    assert job["Constraints"] == [pinned]
    assert group["Count"] == 1
    assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Mode"]) == (0, "fail")
    assert group["ReschedulePolicy"]["Attempts"] == 0
    assert group["ReschedulePolicy"]["Unlimited"] is False
    assert group["Disconnect"]["Replace"] is False
    # A task's own policy would override the group's.
    assert all(task["RestartPolicy"] is None for task in group["Tasks"])


@pytest.mark.parametrize("path", PATHS)
def test_failing_deployment_ends_within_two_minutes(path: str) -> None:
    job = webjob.render(path=path)
    update = job["Update"]
    assert 0 < update["HealthyDeadline"] <= update["ProgressDeadline"] <= 120 * SECOND
    assert update["HealthCheck"] == "task_states"
    assert update["AutoRevert"] is False
    assert webjob.group(job)["Update"] is None


@pytest.mark.parametrize(("path", "instances"), GRID)
def test_ports_and_network(path: str, instances: int) -> None:
    job = webjob.render(path=path, instances=instances)
    (network,) = webjob.group(job)["Networks"]
    assert network["Mode"] == ("host" if path in BRIDGED else "bridge")
    assert network["ReservedPorts"] is None
    published = range(instances) if path == "tcp-published" else ()
    expected = {"http": 8080} | {f"app_{number}": 8000 + number for number in published}
    assert {port["Label"]: port["To"] for port in network["DynamicPorts"]} == expected
    for name, task in webjob.tasks(job).items():
        config = task["Config"]
        assert config["network_mode"] == ("socklab" if path in BRIDGED else "")
        if not name.startswith("app-"):
            assert config["ports"] == (["http"] if path in BRIDGED else [])
        elif path == "tcp-published":
            assert config["ports"] == [name.replace("-", "_")]
        else:
            assert config["ports"] == []


def resources(job: dict[str, Any]) -> dict[str, tuple[int, int, bool]]:
    return {
        name: (
            task["Resources"]["CPU"],
            task["Resources"]["MemoryMB"],
            task["Config"].get("cpu_hard_limit", False),
        )
        for name, task in webjob.tasks(job).items()
    }


def test_two_containers_get_shares_without_a_limit() -> None:
    job = webjob.render(path="sharedvolume", cpu=150, memory_mb=300)
    assert resources(job) == {"app-0": (150, 300, False), "proxy": (150, 300, False)}


@pytest.mark.parametrize("path", COMBINED)
@pytest.mark.parametrize(("cores", "cpu"), [(1, 99_500), (2, 199_500), (3, 200_000), (8, 200_000)])
def test_combined_has_two_cores_as_a_hard_limit_and_twice_the_memory(
    path: str, cores: int, cpu: int
) -> None:
    cpus = ",".join(map(str, range(4, 4 + cores)))
    job = webjob.render(path=path, host_cpus=cpus, memory_mb=300)
    assert resources(job) == {"combined": (cpu, 600, True)}


def pins(job: dict[str, Any]) -> dict[str, str | None]:
    """The CPU that each task is put on; None for one that is put nowhere."""
    started = {name: task["Config"]["entrypoint"] for name, task in webjob.tasks(job).items()}
    assert all(one[0] == "/usr/bin/taskset" or len(one) == 1 for one in started.values())
    return {name: one[2] if len(one) > 1 else None for name, one in started.items()}


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ("any", [None, None, None]),
        ("same", ["6", "6", "6"]),
        ("apart", ["3", "5", "6"]),
    ],
)
def test_containers_run_on_the_cpus_that_are_asked_for(
    cpus: str, expected: list[str | None]
) -> None:
    job = webjob.render(path="sharedvolume", instances=2, host_cpus="3,5,6", cpus=cpus)
    assert pins(job) == dict(zip(["proxy", "app-0", "app-1"], expected, strict=True))
    whole = webjob.render(path="combined", host_cpus="3,5,6", cpus=cpus)
    assert pins(whole) == {"combined": "6" if cpus == "same" else None}


def test_with_more_instances_than_cpus_none_comes_to_the_proxys() -> None:
    job = webjob.render(path="tcp-loopback", instances=4, host_cpus="0,1,2", cpus="apart")
    assert pins(job) == {"proxy": "0", "app-0": "1", "app-1": "2", "app-2": "1", "app-3": "2"}


def test_cpus_of_a_host_are_numbers() -> None:
    for bad in ("0;reboot", "0,", "0-3", ""):
        refused = webjob.attempt(**webjob.IMAGES, path="combined", host_cpus=bad)
        assert "The host_cpus must be whole numbers" in refused.stdout


def test_id_is_a_variable() -> None:
    assert webjob.render(path="combined", id="sl-7-a")["ID"] == "sl-7-a"


def test_application_gets_workers_and_response_size() -> None:
    job = webjob.render(path="tcp-loopback", workers=3, response_bytes=4096, instances=2)
    for name, port in (("app-0", 8000), ("app-1", 8001)):
        assert webjob.tasks(job)[name]["Env"] == {
            "BIND": f"127.0.0.1:{port}",
            "WORKERS": "3",
            "RESPONSE_BYTES": "4096",
            "WORK": "none",
        }


@pytest.mark.parametrize(
    ("path", "bind"),
    [
        ("tcp-loopback", "127.0.0.1:800{}"),
        ("tcp-bridge", "0.0.0.0:800{}"),
        ("tcp-published", "0.0.0.0:800{}"),
        ("sharedvolume", "unix:/alloc/tmp/app-{}.sock"),
        ("sharedvolume-bridge", "unix:/alloc/tmp/app-{}.sock"),
    ],
)
def test_instances_bind_where_the_proxy_and_the_ports_lead(path: str, bind: str) -> None:
    tasks = webjob.tasks(webjob.render(path=path, instances=4))
    binds = [tasks[f"app-{number}"]["Env"]["BIND"] for number in range(4)]
    assert binds == [bind.format(number) for number in range(4)]


def test_socket_paths_fit_into_sun_path() -> None:
    text = json.dumps(webjob.render(path="sharedvolume", instances=4))
    sockets = {part.split('"')[0].split(";")[0] for part in text.split("unix:")[1:]}
    assert sockets == {f"/alloc/tmp/app-{number}.sock" for number in range(4)}
    assert all(len(socket.encode()) <= 107 for socket in sockets)
