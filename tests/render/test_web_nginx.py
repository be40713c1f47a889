"""nginx takes every configuration that the web job renders: ``nginx -t``, the real program."""

from __future__ import annotations

import datetime
import itertools
import re
from pathlib import Path

import nginxprogram
import pytest
import webjob
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ALLOCATION = "6b6f381b-a31d-2d13-8008-d88767ddacad"
GRID = [
    *itertools.product(webjob.PATHS, (False, True), (False, True), (1, 4)),
    *itertools.product([webjob.NULL], [True], (False, True), [1]),
]


@pytest.fixture(scope="module")
def certificate() -> tuple[str, str]:
    """PEM of a self-signed certificate and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return made.public_bytes(pem).decode(), private.decode()


def fill(text: str) -> str:
    """What Nomad's templates put in at run time, with literal values."""
    text = text.replace('{{ env "NOMAD_ALLOC_ID" }}', ALLOCATION)
    text = re.sub(r'\{\{ env "NOMAD_HOST_ADDR_app_(\d)" \}\}', r"198.51.100.7:2400\1", text)
    assert "{{" not in text, text
    return text


def servers(configuration: str) -> list[str]:
    return re.findall(r"^ +server ([^\s{]+);$", configuration, re.MULTILINE)


def expected_servers(path: str, instances: int) -> list[str]:
    if path == webjob.NULL:
        return []
    if "sharedvolume" in path or "combined" in path:
        form = "unix:/alloc/tmp/app-{}.sock"
    elif path == "tcp-bridge":
        form = f"app-{{0}}.{ALLOCATION}:800{{0}}"
    elif path == "tcp-published":
        form = "198.51.100.7:2400{}"
    else:
        form = "127.0.0.1:800{}"
    return [form.format(number) for number in range(instances)]


@pytest.mark.parametrize(("path", "keepalive", "tls", "instances"), GRID)
def test_nginx_takes_it(
    path: str,
    keepalive: bool,
    tls: bool,
    instances: int,
    tmp_path: Path,
    certificate: tuple[str, str],
) -> None:
    pems = {"tls_certificate": certificate[0], "tls_key": certificate[1]} if tls else {}
    job = webjob.render(path=path, keepalive=keepalive, tls=tls, instances=instances, **pems)
    files = {name: fill(text) for name, text in webjob.templates(job).items()}
    assert servers(files["local/nginx.conf"]) == expected_servers(path, instances)
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        # nginx -t looks names up and makes its folders; nothing else is changed.
        named = re.sub(rf"app-(\d)\.{ALLOCATION}", "127.0.0.1", text)
        file.write_text(re.sub(r" /(local|secrets|tmp)/", rf" {tmp_path}/\1/", named))
    (tmp_path / "tmp").mkdir()
    nginxprogram.judge(tmp_path / "local" / "nginx.conf")


@pytest.mark.parametrize("found", [0, 2])
def test_nginx_takes_the_instances_that_nomad_knows_and_none(found: int, tmp_path: Path) -> None:
    proxy = webjob.render(path=webjob.GROWING)["TaskGroups"][0]["Tasks"][0]
    loop = re.compile(r"\{\{- range nomadService .*?\{\{- end \}\}\{\{ end \}\}", re.DOTALL)
    instances = [f"198.51.100.7:2400{number}" for number in range(found)]
    lines = "".join(f"\n    server {one};" for one in instances)
    filled, loops = loop.subn(lines, proxy["Templates"][0]["EmbeddedTmpl"])
    assert loops == 1
    # Without any nginx would refuse what it is to reload.
    assert servers(filled) == [*instances]
    (pattern,) = re.findall(r"grep -q '(.*?)'", proxy["Config"]["entrypoint"][2])
    assert bool(re.search(pattern, filled)) == bool(found)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "nginx.conf").write_text(re.sub(r" /tmp/", f" {tmp_path}/tmp/", fill(filled)))
    nginxprogram.judge(tmp_path / "nginx.conf")


def test_names_looked_up_are_those_that_the_containers_have() -> None:
    job = webjob.render(path="tcp-bridge", instances=4)
    wanted = [server.rsplit(":")[0] for server in expected_servers("tcp-bridge", 4)]
    for number, name in enumerate(wanted):
        aliases = webjob.tasks(job)[f"app-{number}"]["Config"]["network_aliases"]
        assert [alias.replace("${NOMAD_ALLOC_ID}", ALLOCATION) for alias in aliases] == [name]


@pytest.mark.parametrize("path", webjob.PATHS)
def test_keepalive_is_on_or_off_on_both_directives(path: str) -> None:
    on = webjob.templates(webjob.render(path=path, keepalive=True))["local/nginx.conf"]
    off = webjob.templates(webjob.render(path=path, keepalive=False))["local/nginx.conf"]
    assert "    keepalive 256;\n" in on
    assert 'proxy_set_header Connection "";' in on
    assert not re.search(r"^ +keepalive \d", off, re.MULTILINE)
    assert 'proxy_set_header Connection "close";' in off


@pytest.mark.parametrize("path", webjob.PATHS)
def test_tls_changes_the_listener_alone(path: str) -> None:
    plain = webjob.templates(webjob.render(path=path, tls=False))
    secure = webjob.templates(webjob.render(path=path, tls=True))
    assert set(secure) - set(plain) == {"secrets/tls.pem", "secrets/tls.key"}
    before = plain["local/nginx.conf"].splitlines()
    after = secure["local/nginx.conf"].splitlines()
    assert [line.strip() for line in before if line not in after] == ["listen 8080 backlog=4096;"]
    assert [line.strip() for line in after if line not in before] == [
        "listen 8080 ssl backlog=4096;",
        "ssl_certificate /secrets/tls.pem;",
        "ssl_certificate_key /secrets/tls.key;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
    ]
