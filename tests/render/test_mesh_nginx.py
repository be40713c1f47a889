"""nginx takes every configuration that the mesh job renders: ``nginx -t``, the real program."""

from __future__ import annotations

import re
from pathlib import Path

import meshjob
import nginxprogram
import pytest
from meshjob import ENVIRONMENT, HOPS, MESHED

PORT = 12340
ADDRESS = "198.18.0.77"
WEB_PATHS = [path for path in HOPS if path != "tcp-tls"]


def configuration(path: str, **variables: object) -> str:
    job = meshjob.render("web", path, port=PORT, peer_address=ADDRESS, **variables)
    return meshjob.files(meshjob.tasks(job)["proxy"])["local/nginx.conf"]


def expected_server(path: str) -> str:
    if path == "unix":
        return "unix:/alloc/tmp/server.sock"
    if HOPS[path][0] == "unix":
        return "unix:/alloc/tmp/upstream.sock"
    return f"127.0.0.1:{PORT + 1}" if path in MESHED else f"{ADDRESS}:{PORT}"


@pytest.mark.parametrize("path", WEB_PATHS)
@pytest.mark.parametrize("keepalive", [False, True])
def test_nginx_takes_it(path: str, keepalive: bool, tmp_path: Path) -> None:
    text = meshjob.fill(configuration(path, keepalive=keepalive))
    assert re.findall(r"^ +server ([^\s{]+);$", text, re.MULTILINE) == [expected_server(path)]
    assert re.findall(r"^ +listen (\S+)", text, re.MULTILINE) == [ENVIRONMENT["NOMAD_ADDR_http"]]
    # nginx -t makes its folders; nothing else is changed.
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "nginx.conf"
    file.write_text(text.replace(" /tmp/", f" {tmp_path}/tmp/"))
    nginxprogram.judge(file)


@pytest.mark.parametrize("path", WEB_PATHS)
def test_keepalive_is_on_or_off_on_both_directives(path: str) -> None:
    on, off = (configuration(path, keepalive=value) for value in (True, False))
    assert "    keepalive 256;\n" in on
    assert 'proxy_set_header Connection "";' in on
    assert not re.search(r"^ +keepalive \d", off, re.MULTILINE)
    assert 'proxy_set_header Connection "close";' in off
