"""A moto server that keeps count of what it is asked, and a lab whose inventory points to it.

Real calls against moto's real state. moto starts what EC2 would refuse, so a refusal is put in its
mouth by ``refuse``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from urllib.request import urlopen

import boto3
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACCOUNT = "123456789012"  # moto's own
REGION, ZONE = "eu-central-1", "eu-central-1a"
LAB, ROLE, EXTERNAL_ID = "cloudtest", "socklab", "a-canary-that-nobody-may-print"
PRINCIPAL = f"arn:aws:iam::{ACCOUNT}:user/experimenter"
OURSELVES = "ATEST"  # the access key of the tests, whose calls do not count
NOTHING = dict.fromkeys(
    ("instances", "vpcs", "subnets", "gateways", "route tables", "groups", "volumes"), 0
)
YES = ("-e", "cloud_hosts_yes=true")
KEPT = ("VIRTUAL_ENV", "PATH", "LANG", "HOME", "XDG_CACHE_HOME")
REFUSAL = (
    b"<Response><Errors><Error><Code>%s</Code><Message>moto was told to refuse</Message></Error>"
    b"</Errors><RequestID>0</RequestID></Response>"
)


@dataclass
class Cloud:
    """moto's address, the calls so far as ``service:Action``, and those to be refused."""

    endpoint: str = ""
    calls: list[str] = field(default_factory=list)
    refuse: Callable[[str, str], str | None] = lambda call, body: None

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=OURSELVES,
            aws_secret_access_key="testing",
        )

    def state(self, lab: str | None = None) -> dict[str, int]:
        """How many of each thing there are, of a lab or of all; terminated hosts are gone."""
        ec2 = self.client("ec2")
        tagged = [{"Name": "tag:socklab.lab", "Values": [lab]}] if lab else []
        alive = {"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}
        reservations = ec2.describe_instances(Filters=[*tagged, alive])["Reservations"]
        own = [*tagged, {"Name": "tag-key", "Values": ["socklab.lab"]}]
        return {
            "instances": sum(len(one["Instances"]) for one in reservations),
            "vpcs": len(ec2.describe_vpcs(Filters=own)["Vpcs"]),
            "subnets": len(ec2.describe_subnets(Filters=own)["Subnets"]),
            "gateways": len(ec2.describe_internet_gateways(Filters=own)["InternetGateways"]),
            "route tables": len(ec2.describe_route_tables(Filters=own)["RouteTables"]),
            "groups": len(ec2.describe_security_groups(Filters=own)["SecurityGroups"]),
            "volumes": len(ec2.describe_volumes(Filters=own)["Volumes"]),
        }


class Recorder:
    """WSGI in front of moto."""

    def __init__(self, app: Callable[..., Iterable[bytes]], cloud: Cloud) -> None:
        self.app, self.cloud = app, cloud

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        signed = re.search(
            r"Credential=(\w+)/\w+/[\w-]+/([\w-]+)/", environ.get("HTTP_AUTHORIZATION", "")
        )
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        text = body.decode("utf-8", "replace")
        action = target or parse_qs(text).get("Action", [""])[0]
        if signed and action:
            call = f"{signed[2]}:{action}"
            if signed[1] != OURSELVES:
                self.cloud.calls.append(call)
            if code := self.cloud.refuse(call, text):
                start("403 Forbidden", [("Content-Type", "text/xml")])
                return [REFUSAL % code.encode()]
        return self.app(environ, start)


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """Run moto on a free port of 127.0.0.1, empty."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    cloud = Cloud()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a call otherwise
    server.start()
    try:
        host, port = server.get_host_and_port()
        cloud.endpoint = f"http://{host}:{port}"
        urlopen(f"{cloud.endpoint}/moto-api/reset", data=b"").close()
        server._server.app = Recorder(server._server.app, cloud)
        yield cloud
    finally:
        server.stop()


def shipped(name: str, **values: str) -> str:
    text = (ROOT / "roles/cloud_hosts/files" / name).read_text()
    known = {
        "ACCOUNT_ID": ACCOUNT,
        "REGION": REGION,
        "ROLE_NAME": ROLE,
        "LAB_ID": LAB,
        "IMAGE_OWNER": ACCOUNT,
        "PRINCIPAL_ARN": PRINCIPAL,
        "EXTERNAL_ID": EXTERNAL_ID,
    }
    for placeholder, value in (known | values).items():
        text = text.replace(placeholder, value)
    return text


def make_role(cloud: Cloud, **values: str) -> None:
    """Put the shipped role where docs/cloud.md says."""
    iam = cloud.client("iam")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=shipped("trust.json", **values))
    iam.put_role_policy(
        RoleName=ROLE, PolicyName="socklab", PolicyDocument=shipped("policy.json", **values)
    )


def make_images(*arches: str) -> None:
    """Put an older and a newer Debian of each architecture there; moto's API knows one alone."""
    from moto.ec2.models import ec2_backends
    from moto.ec2.models.amis import Ami

    backend: Any = ec2_backends[ACCOUNT][REGION]
    for arch in arches:
        for year in (2025, 2026):
            backend.amis[f"ami-{arch}-{year}"] = Ami(
                backend,
                f"ami-{arch}-{year}",
                name=f"debian-12-{arch.replace('x86_64', 'amd64')}-{year}0101-1",
                architecture=arch,
                creation_date=datetime(year, 1, 1),
                root_device_type="ebs",
                root_device_name="/dev/xvda",
                virtualization_type="hvm",
            )


class Lab:
    """A copy of inventories/cloud with this test's values, and the environment of its user."""

    def __init__(self, folder: Path, cloud: Cloud, lab: str = LAB) -> None:
        self.cloud, self.state = cloud, folder / "state"
        self.inventory = folder / "inventory"
        shutil.copytree(ROOT / "inventories/cloud", self.inventory)
        self.edit(
            "hosts.yml",
            ("/srv/socklab/cloud", str(self.state)),
            ("lab_id: cloud", f"lab_id: {lab}"),
            ('"000000000000"', f'"{ACCOUNT}"'),
            ('"136693071363"', f'"{ACCOUNT}"'),
            ('caller: ""', "caller: 203.0.113.7"),
        )
        self.edit("aws_ec2.yml", ("socklab.lab: cloud", f"socklab.lab: {lab}"))
        (folder / "credentials").write_text(
            "[base]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        )
        self.config = folder / "config"
        self.profile()
        self.environment = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_FORCE_COLOR": "0",
            "COLUMNS": "160",
            "AWS_ENDPOINT_URL": cloud.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
            "AWS_PROFILE": "lab",
        }

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        path = self.inventory / name
        text = path.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)

    def profile(self, *, account: str = ACCOUNT, external_id: str = EXTERNAL_ID) -> None:
        self.config.write_text(
            "[profile base]\nregion = us-east-1\n"  # not the lab's, which the inventory says
            f"[profile lab]\nregion = us-east-1\nrole_arn = arn:aws:iam::{account}:role/{ROLE}\n"
            f"source_profile = base\nexternal_id = {external_id}\n"
        )

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, "-i", str(self.inventory)],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def ask(self, what: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "collector", "cloud", what, *options)

    def play(self, *options: str, tags: str = "provision") -> subprocess.CompletedProcess[str]:
        return self.run(str(BIN / "ansible-playbook"), "lab.yml", "--tags", tags, *options)

    def listed(self) -> dict[str, Any]:
        done = self.run(str(BIN / "ansible-inventory"), "--list")
        assert done.returncode == 0, done.stdout
        listed: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        return listed
