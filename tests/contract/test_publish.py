"""publish against moto's server: real calls, real state; denials and expiry by botocore's Stubber.

moto knows neither ExpectedBucketOwner nor tokens that expire, so what S3 answers then is stubbed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))

import blockfiles

from analysis.__main__ import app as analysis
from analysis.dataset import open_dataset
from collector.cli import app as collector
from collector.publish import commands
from collector.publish.bucket import Bucket
from collector.publish.site import IMMUTABLE, SHORT

ROOT = Path(__file__).parents[2]
MADE = blockfiles.Campaign(blocks=6)
SECRET = b"canary-4c1d"
MIB = 1024 * 1024


def call(app: Any, *argv: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in argv])


def report(state: Path, *more: str) -> Result:
    return call(analysis, "report", "--state", state, "--experiment", "web", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's state with secrets, logs and two campaigns; the report is about ``MADE``."""
    state = tmp_path_factory.mktemp("made") / "lab"
    MADE.write(state)
    blockfiles.Campaign(name="web-20261120t080000-0001", blocks=1).write(state)
    assert call(collector, "collect", "--state", state).exit_code in (0, 1)
    assert report(state, "--campaign", MADE.name).exit_code == 0
    (MADE.folder(state) / "finished").touch()
    for name in (
        "lab.env",
        "secrets/tls/ca.key",
        "ssh/id",
        "results/x.log",
        "results/dataset/lock",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(SECRET)
    (MADE.folder(state) / "attempts.jsonl").write_bytes(SECRET)
    return state


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@dataclass
class Site:
    """A copy of the lab's state, an empty bucket, and the calls that were made."""

    state: Path
    url: str
    s3: Any
    calls: list[tuple[str, dict[str, Any]]]

    def publish(self, *more: object, name: str = "web") -> Result:
        self.calls.clear()
        argv = ("publish", name, "--state", self.state, "--bucket", "site", *more)
        return call(collector, *argv)

    def made_calls(self) -> set[str]:
        return {name for name, _ in self.calls}

    def names(self, prefix: str = f"{MADE.name}/") -> set[str]:
        found = self.s3.list_objects_v2(Bucket="site", Prefix=prefix).get("Contents", ())
        return {entry["Key"].removeprefix(prefix) for entry in found}

    def head(self, name: str) -> Any:
        return self.s3.head_object(Bucket="site", Key=f"{MADE.name}/{name}")

    def get(self, name: str) -> bytes:
        return self.s3.get_object(Bucket="site", Key=f"{MADE.name}/{name}")["Body"].read()

    def put(self, name: str, body: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket="site", Key=f"{MADE.name}/{name}", Body=body, **more)

    def in_report(self, name: str) -> Path:
        return self.state / "results" / "report" / "web" / name


@pytest.fixture
def site(
    made: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    for name in [
        name for name in os.environ if name.startswith("AWS_") and name[4:] != "CA_BUNDLE"
    ]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    state = tmp_path / "lab"
    shutil.copytree(made, state)
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST"))
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="site")
    calls: list[tuple[str, dict[str, Any]]] = []
    real = BaseClient._make_api_call

    def noted(self: BaseClient, operation: str, params: dict[str, Any]) -> Any:
        calls.append((operation, params))
        return real(self, operation, params)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return Site(state, server, s3, calls)


def summary(found: Result) -> str:
    return found.output.splitlines()[-1].partition(": ")[2]


# What is there afterwards


def test_every_file_is_there_byte_for_byte_and_nothing_else(site: Site) -> None:
    found = site.publish()
    assert found.exit_code == 0, found.output
    parts = json.loads((site.state / "results/dataset/index.json").read_text())["parts"]
    mine = {f"results/dataset/{part['file']}" for part in parts if part["campaign"] == MADE.name}
    assert len(mine) == 6 < len(parts)
    campaign = f"results/campaigns/{MADE.name}"
    copied = mine | {f"{campaign}/plan.json", f"{campaign}/finished"}
    reported = {path.name for path in site.in_report("").iterdir()}
    assert site.names() == copied | reported | {"results/dataset/index.json", "SHA256SUMS"}
    for name in copied:
        assert site.get(name) == (site.state / name).read_bytes()
    for name in reported:
        assert site.get(name) == site.in_report(name).read_bytes()
    assert all(SECRET not in site.get(name) for name in site.names())


def test_checksums_hold(site: Site) -> None:
    site.publish()
    lines = site.get("SHA256SUMS").decode().splitlines()
    listed = {name: sha256 for sha256, name in (line.split("  ") for line in lines)}
    assert listed.keys() == site.names() - {"SHA256SUMS"}
    for name, sha256 in listed.items():
        assert hashlib.sha256(site.get(name)).hexdigest() == sha256


def test_headers_over_plain_http(site: Site) -> None:
    site.publish()
    part = next(name for name in site.names() if "/parts/runs-" in name)
    for name, kind, cache in (
        ("report.html", "text/html; charset=utf-8", SHORT),
        ("verdicts.csv", "text/csv; charset=utf-8", SHORT),
        ("answer.txt", "text/plain; charset=utf-8", SHORT),
        ("SHA256SUMS", "text/plain; charset=utf-8", SHORT),
        ("results/dataset/index.json", "application/json", SHORT),
        (part, "application/vnd.apache.parquet", IMMUTABLE),
    ):
        at = {"Bucket": "site", "Key": f"{MADE.name}/{name}"}
        with urllib.request.urlopen(site.s3.generate_presigned_url("get_object", at)) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Cache-Control"] == cache
            assert answer.headers["Content-Encoding"] is None
            assert answer.read() == site.get(name)


def test_encoding_is_said_where_the_bytes_are_encoded(site: Site) -> None:
    text = site.in_report("verdicts.csv").read_bytes()
    site.in_report("verdicts.csv").write_bytes(gzip.compress(text))
    assert site.publish().exit_code == 0
    assert site.head("verdicts.csv")["ContentEncoding"] == "gzip"
    assert site.head("verdicts.csv")["ContentType"] == "text/csv; charset=utf-8"
    assert gzip.decompress(site.get("verdicts.csv")) == text


def test_no_call_sets_an_acl_and_each_names_the_owner(site: Site) -> None:
    site.publish()
    assert {name for name in site.made_calls() if name != "GetCallerIdentity"} == {
        "ListObjectsV2", "PutObject",
    }  # fmt: skip
    for name, params in site.calls:
        assert "ACL" not in params
        assert not any(key.startswith("Grant") for key in params)
        assert name == "GetCallerIdentity" or params["ExpectedBucketOwner"] == "123456789012"
    for name in site.names():
        grants = site.s3.get_object_acl(Bucket="site", Key=f"{MADE.name}/{name}")["Grants"]
        assert all(grant["Grantee"]["Type"] == "CanonicalUser" for grant in grants)


def test_what_refers_to_others_is_sent_after_them(site: Site) -> None:
    site.publish()
    sent = [params["Key"] for name, params in site.calls if name == "PutObject"]
    assert [key.removeprefix(f"{MADE.name}/") for key in sent[-2:]] == [
        "results/dataset/index.json", "SHA256SUMS",
    ]  # fmt: skip


def test_a_download_can_be_analysed(site: Site, tmp_path: Path) -> None:
    site.publish("--prefix", "labs/one")
    prefix = f"labs/one/{MADE.name}/"
    fetched = tmp_path / "fetched"
    for name in site.names(prefix):
        (fetched / name).parent.mkdir(parents=True, exist_ok=True)
        site.s3.download_file("site", prefix + name, str(fetched / name))
    ours, theirs = open_dataset(site.state), open_dataset(fetched)
    assert theirs.runs().equals(ours.runs([MADE.name]))
    assert report(fetched).exit_code == 0
    again = fetched / "results/report/web"
    # Not the verdicts: the noise floor of the published ones also knew an earlier campaign.
    for name in ("blocks.csv", "arms.csv", "cpu.csv", "account.csv"):
        assert (again / name).read_bytes() == (fetched / name).read_bytes()


def test_a_campaign_may_be_named_itself(site: Site) -> None:
    assert site.publish(name=MADE.name).exit_code == 0
    assert "report.html" in site.names()


# Again


def test_a_second_run_sends_nothing(site: Site) -> None:
    site.publish()
    before = {name: site.head(name)["LastModified"] for name in site.names()}
    found = site.publish()
    assert found.exit_code == 0
    assert summary(found) == (
        f"{len(before)} objects, 0 sent (0 bytes), 0 mended, {len(before)} as they should be; "
        "0 that do not belong"
    )
    assert site.made_calls() == {"GetCallerIdentity", "ListObjectsV2", "HeadObject"}
    assert {name: site.head(name)["LastModified"] for name in site.names()} == before


def test_only_what_changed_is_sent(site: Site) -> None:
    site.publish()
    text = site.in_report("aa.csv").read_bytes()
    site.in_report("aa.csv").write_bytes(text.swapcase())  # the size stays
    found = site.publish()
    assert "kB): other content by its sha256" in found.output
    sent = {params["Key"] for name, params in site.calls if name == "PutObject"}
    assert sent == {f"{MADE.name}/{name}" for name in ("aa.csv", "SHA256SUMS")}
    assert site.get("aa.csv") == text.swapcase()


def test_a_dry_run_changes_nothing(site: Site) -> None:
    found = site.publish("--dry-run")
    assert found.exit_code == 0
    assert "would send report.html (" in found.output
    assert "to be sent" in summary(found)
    assert (site.names(), site.made_calls()) == (set(), {"GetCallerIdentity", "ListObjectsV2"})


WRONG: dict[str, dict[str, Any]] = {
    "report.html": {"ContentType": "binary/octet-stream"},
    "aa.csv": {"ContentEncoding": "gzip"},
    "cpu.csv": {"CacheControl": "no-store"},
    "arms.csv": {"ContentDisposition": "attachment"},
    "answer.txt": {"ContentLanguage": "de"},
}
HEADS = ("ContentType", "ContentEncoding", "CacheControl", "ContentDisposition", "ContentLanguage")


def test_wrong_metadata_are_mended_by_a_copy(site: Site) -> None:
    def heads() -> dict[str, list[Any]]:
        return {name: [site.head(name).get(head) for head in HEADS] for name in WRONG}

    site.publish()
    right, bodies = heads(), {name: site.get(name) for name in WRONG}
    for name, wrong in WRONG.items():
        head = site.head(name)
        own = {key: head[key] for key in ("ContentType", "CacheControl", "Metadata")}
        site.put(name, bodies[name], **{**own, **wrong})
    found = site.publish("--dry-run")
    assert summary(found).startswith("25 objects, 0 to be sent (0 bytes), 5 to be mended, 20 as")
    assert "would mend aa.csv by a copy inside S3: Content-Encoding 'gzip', expected none" in (
        found.output
    )
    assert "CopyObject" not in site.made_calls()
    assert site.publish("--check").exit_code == 1
    assert site.publish().exit_code == 0
    assert site.made_calls() == {"GetCallerIdentity", "ListObjectsV2", "HeadObject", "CopyObject"}
    copied = {params["Key"] for name, params in site.calls if name == "CopyObject"}
    assert copied == {f"{MADE.name}/{name}" for name in WRONG}
    assert heads() == right
    assert {name: site.get(name) for name in WRONG} == bodies
    assert site.publish("--check").exit_code == 0


def test_a_lost_hash_is_mended_by_a_copy_where_the_etag_proves_the_bytes(site: Site) -> None:
    """As ``aws s3 cp --metadata-directive REPLACE`` loses it."""
    site.publish()
    key = f"{MADE.name}/aa.csv"
    right, body = site.head("aa.csv")["Metadata"], site.get("aa.csv")
    for lost in ({}, {"sha256": "0" * 64}):
        site.s3.copy_object(
            Bucket="site", Key=key, CopySource=f"site/{key}", MetadataDirective="REPLACE",
            Metadata=lost,
        )  # fmt: skip
        assert site.publish("--check").exit_code == 1
        assert "0 sent (0 bytes), 1 mended" in summary(site.publish())
        assert {"UploadPart", "PutObject"} & site.made_calls() == set()
        assert (site.head("aa.csv")["Metadata"], site.get("aa.csv")) == (right, body)
        assert site.publish("--check").exit_code == 0
    site.put("aa.csv", body[::-1])
    assert "1 sent" in summary(site.publish())
    assert site.get("aa.csv") == body


def test_a_copy_of_another_object_than_was_looked_at_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish()
    sha256 = site.head("aa.csv")["Metadata"]
    site.put("aa.csv", site.get("aa.csv"), Metadata=sha256)
    look = Bucket.look

    def then_changed(self: Bucket, *given: Any) -> Any:
        found = look(self, *given)
        site.put("aa.csv", b"another's", Metadata=sha256)
        return found

    monkeypatch.setattr(Bucket, "look", then_changed)
    found = site.publish()
    assert (found.exit_code, "changed meanwhile" in found.output) == (2, True)
    assert site.get("aa.csv") == b"another's"


def test_check_lists_every_deviation_and_touches_none(site: Site) -> None:
    site.publish()
    assert site.publish("--check").exit_code == 0
    site.s3.delete_object(Bucket="site", Key=f"{MADE.name}/arms.csv")
    size = len(site.get("aa.csv"))
    site.put("aa.csv", b"x")
    site.put("cpu.csv", site.get("cpu.csv"))
    site.put("blocks.csv", site.get("blocks.csv"), Metadata=site.head("blocks.csv")["Metadata"])
    site.put("old/\x1b[31m.csv", b"x")
    found = site.publish("--check")
    assert found.exit_code == 1
    lines = found.output.splitlines()[2:-1]
    assert lines == [
        f"aa.csv: 1 bytes, expected {size}",
        "arms.csv: missing",
        "blocks.csv: Content-Type 'binary/octet-stream', expected 'text/csv; charset=utf-8'; "
        "Cache-Control none, expected 'public, max-age=60'",
        "cpu.csv: has no sha256 in its metadata; Content-Type 'binary/octet-stream', expected "
        "'text/csv; charset=utf-8'; Cache-Control none, expected 'public, max-age=60'",
        "'old/\\x1b[31m.csv': does not belong to this campaign",
    ]
    assert {"PutObject", "CopyObject"} & site.made_calls() == set()


def test_what_does_not_belong_is_named_and_stays(site: Site) -> None:
    site.put("foreign.txt", b"x")
    found = site.publish()
    assert found.exit_code == 0
    assert "left as it is: 'foreign.txt' does not belong to this campaign" in found.output
    assert site.get("foreign.txt") == b"x"
    assert not any(name.startswith("Delete") for name in site.made_calls())
    assert site.publish("--check").exit_code == 1


def test_other_campaigns_of_the_bucket_are_not_looked_at(site: Site) -> None:
    key = f"{MADE.name}-2/report.html"
    site.s3.put_object(Bucket="site", Key=key, Body=b"x")
    site.publish()
    assert site.publish("--check").exit_code == 0


# Large files, interruptions


@pytest.fixture
def large(site: Site) -> Site:
    site.in_report("large.csv").write_bytes(b"0123456789abcdef" * (20 * MIB // 16))
    return site


def test_a_large_file_goes_in_parts_and_only_once(large: Site) -> None:
    assert large.publish().exit_code == 0
    assert "UploadPart" in large.made_calls()
    assert large.head("large.csv")["ETag"].strip('"').endswith("-3")
    assert large.get("large.csv") == large.in_report("large.csv").read_bytes()
    assert "0 sent" in summary(large.publish())
    large.s3.copy_object(
        Bucket="site", Key=f"{MADE.name}/large.csv", CopySource=f"site/{MADE.name}/large.csv",
        MetadataDirective="REPLACE", Metadata=large.head("large.csv")["Metadata"],
    )  # fmt: skip
    assert "0 sent (0 bytes), 1 mended" in summary(large.publish())
    assert {"UploadPart", "PutObject"} & large.made_calls() == set()


def test_interrupted_in_a_large_file_the_same_command_goes_on(
    large: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, raised, main = Bucket.send, list[int](), threading.get_ident()

    def interrupted(self: Bucket, item: Any, sent: Callable[[int], object]) -> None:
        def then(size: int) -> None:
            sent(size)
            if item.name == "large.csv" and not raised:
                raised.append(size)
                signal.pthread_kill(main, signal.SIGINT)
                threading.Event().wait(1)  # no upload of this part before the main thread knows

        send(self, item, then)

    # A shell lets what it starts in the background ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "send", interrupted)
        found = large.publish()
    signal.signal(signal.SIGINT, before)
    assert found.exit_code == 130, found.output
    assert "interrupted: the same command sends only what is missing" in found.output
    assert large.s3.list_multipart_uploads(Bucket="site").get("Uploads", []) == []
    there = large.names()
    assert "aa.csv" in there
    assert {"large.csv", "results/dataset/index.json"} & there == set()
    assert large.publish().exit_code == 0
    sent = {params["Key"] for _, params in large.calls if "Body" in params}
    assert sent == {f"{MADE.name}/{name}" for name in large.names() - there}


# Policies of docs/publishing.md

NEEDS = {
    "ListObjectsV2": {"s3:ListBucket"},
    "HeadObject": {"s3:GetObject"},
    "CopyObject": {"s3:GetObject", "s3:PutObject"},
    "PutObject": {"s3:PutObject"},
    "CreateMultipartUpload": {"s3:PutObject"},
    "UploadPart": {"s3:PutObject"},
    "CompleteMultipartUpload": {"s3:PutObject"},
    "AbortMultipartUpload": {"s3:AbortMultipartUpload"},
    "GetCallerIdentity": set[str](),  # asks for no permission
}


def policies() -> list[dict[str, Any]]:
    page = (ROOT / "docs" / "publishing.md").read_text()
    texts = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [json.loads(text.replace("BUCKET", "site")) for text in texts]


def test_the_publishers_policy_is_what_the_calls_need(large: Site) -> None:
    calls = {"AbortMultipartUpload"}  # an interruption's, above
    large.publish()
    calls |= large.made_calls()
    large.put("aa.csv", large.get("aa.csv"), Metadata=large.head("aa.csv")["Metadata"])
    large.publish()
    calls |= large.made_calls()
    assert calls == NEEDS.keys()
    allowed: set[str] = set()
    for statement in policies()[0]["Statement"]:
        assert statement["Effect"] == "Allow"
        named = statement["Action"]
        allowed |= {named} if isinstance(named, str) else set(named)
        bucket_wide = named == "s3:ListBucket"
        assert statement["Resource"] == f"arn:aws:s3:::site{'' if bucket_wide else '/*'}"
    assert allowed == set().union(*NEEDS.values())


def test_strangers_read_nothing_until_the_readers_policy_is_there(site: Site) -> None:
    site.publish()
    url = f"{site.url}/site/{MADE.name}/report.html"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    site.s3.put_bucket_policy(Bucket="site", Policy=json.dumps(policies()[1]))
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == site.in_report("report.html").read_bytes()


# The stage


def play(site: Site, *more: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, "playbooks/publish.yml", *more],
        cwd=ROOT,
        env={
            **os.environ,
            "SOCKLAB_STATE": str(site.state),
            "PATH": f"{program.parent}:/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_stage_publishes_once(site: Site) -> None:
    bucket = ("-e", "publish_bucket=site", "-e", "publish_prefix=labs")
    without = play(site)
    assert without.returncode == 2
    assert "publish_bucket is missing; name the S3 bucket" in without.stdout
    for more, changed, there in ((("--check",), 1, False), ((), 1, True), ((), 0, True)):
        done = play(site, *bucket, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"changed={changed} " in done.stdout
        assert ("report.html" in site.names(f"labs/{MADE.name}/")) is there


# Files


def test_a_file_that_vanishes_or_changes_meanwhile(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, look = site.in_report("cpu.csv"), Bucket.look

    def gone(self: Bucket, *given: Any) -> Any:
        file.unlink()
        return look(self, *given)

    def other(self: Bucket, *given: Any) -> Any:
        file.write_text("another\n")
        return look(self, *given)

    for change, said in ((gone, "No such file"), (other, "was changed while it was published")):
        file.write_text("cell\n")
        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "look", change)
            found = site.publish()
        assert found.exit_code == 2
        assert f"{file}: {said}" in found.output
        assert {"cpu.csv", "SHA256SUMS"} & site.names() == set()
    assert site.publish().exit_code == 0
    assert site.get("cpu.csv") == b"another\n"


# Credentials, accounts, buckets


def test_without_credentials(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = site.publish()
    assert found.exit_code == 3  # the secret alone is no credential
    assert len(found.stderr.splitlines()) == 1
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = site.publish()
    assert found.exit_code == 3
    assert found.stderr == (
        "error: no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    found = site.publish()
    assert (found.exit_code, "nobody" in found.stderr) == (3, True)


def stubbed(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, account: str | None
) -> list[str | None]:
    """Let the first call to S3 fail; returns the accounts that were asked for."""
    asked = []

    def opened(name: str, prefix: str, owner: str | None) -> Bucket:
        asked.append(owner)
        s3 = boto3.client("s3")
        expected = {"Bucket": name, "Prefix": prefix, "ExpectedBucketOwner": account}
        stub = Stubber(s3)
        stub.add_client_error("list_objects_v2", code, "said S3", status, expected_params=expected)
        stub.activate()
        return Bucket(s3, name, prefix, owner or str(account))

    monkeypatch.setattr(commands, "open_bucket", opened)
    return asked


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_credentials_that_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    stubbed(monkeypatch, code, 400, "1" * 12)
    found = site.publish()
    assert found.exit_code == 3
    assert found.stderr == (
        f"error: AWS refuses the credentials ({code}, ListObjectsV2); get new ones\n"
    )


def test_credentials_that_expire_before_the_account_is_known(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sts = boto3.client("sts")
    stub = Stubber(sts)
    stub.add_client_error("get_caller_identity", "ExpiredToken", "said STS", 403)
    stub.activate()
    monkeypatch.setattr(boto3.session.Session, "client", lambda *_, **__: sts)
    found = site.publish()
    assert found.exit_code == 3
    assert "AWS refuses the credentials (ExpiredToken, GetCallerIdentity)" in found.stderr


def test_a_bucket_of_another_owner_than_expected(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stubbed(monkeypatch, "AccessDenied", 403, "2" * 12)
    found = site.publish("--account", "2" * 12)
    assert asked == ["2" * 12]
    assert found.exit_code == 2
    assert (
        "error: bucket 'site': access denied (ListObjectsV2): it belongs to another" in found.stderr
    )


def test_an_account_that_is_given_is_not_asked_for(site: Site) -> None:
    assert site.publish("--account", "123456789012").exit_code == 0
    assert "GetCallerIdentity" not in site.made_calls()


def test_a_bucket_of_somebody_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    role = boto3.client("sts").assume_role(
        RoleArn="arn:aws:iam::222222222222:role/other", RoleSessionName="other"
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", role["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", role["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", role["SessionToken"])
    monkeypatch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
    found = site.publish()
    assert (found.exit_code, "access denied" in found.stderr) == (2, True)
    owners = [params.get("ExpectedBucketOwner") for name, params in site.calls if "List" in name]
    assert owners == ["222222222222"]
    assert site.names() == set()


def test_a_bucket_that_is_missing(site: Site) -> None:
    site.s3.delete_bucket(Bucket="site")
    found = site.publish()
    assert found.exit_code == 2
    assert found.stderr == "error: bucket 'site': does not exist; create it, or mend its name\n"


def test_s3_out_of_reach(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    found = site.publish()
    assert (found.exit_code, len(found.stderr.splitlines())) == (3, 1)
    assert "Could not connect to the endpoint URL" in found.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--bucket", "No"),
        ("--bucket", "a/b"),
        ("--prefix", "../up"),
        ("--prefix", "a//b"),
        ("--prefix", "a b"),
        ("--account", "12"),
    ],
)
def test_options_that_make_no_sense(site: Site, option: str, value: str) -> None:
    found = site.publish(option, value)
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {option} {value!r}: expected ")
    assert site.calls == []
