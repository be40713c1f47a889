"""Certificates of the lab's own CA, but of another time: refused by those who are shown them."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from conftest import Lab
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collector.campaign.errors import NotReadyError
from collector.campaign.mesh import Mesh

DAY = timedelta(days=1)
TIMES = {"past": (-30 * DAY, -DAY), "future": (DAY, 30 * DAY)}
RPC = ("198.18.64.11", 8300)


def issue(lab: Lab, folder: Path, validity: tuple[timedelta, timedelta]) -> Path:
    """A leaf that the lab's CA has really signed, for a time that is not now; key and chain."""
    tls = lab.state / "secrets" / "tls"
    authority = x509.load_pem_x509_certificate((tls / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((tls / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    names = [
        x509.DNSName("server.dc1.consul"),
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + validity[0])
        .not_valid_after(now + validity[1])
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(signer, hashes.SHA256())
    )
    path = folder / "leaf.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def show(leaf: Path) -> bytes:
    """Show the certificate to Consul's RPC, which wants one of the lab's; what comes back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(leaf)
    with (
        socket.create_connection(RPC, timeout=5) as raw,
        context.wrap_socket(raw) as wrapped,
    ):
        wrapped.settimeout(2)
        wrapped.sendall(b"\x00" * 16)
        return wrapped.recv(16)


@pytest.mark.parametrize("when", TIMES)
def test_consul_refuses_a_client_of_another_time(lab: Lab, tmp_path: Path, when: str) -> None:
    # Consul is written in Go, which says the same alert for both.
    with pytest.raises(ssl.SSLError, match=r"expired|bad certificate"):
        show(issue(lab, tmp_path, TIMES[when]))


def test_consul_takes_one_of_now(lab: Lab, tmp_path: Path) -> None:
    """The control: it is the time that is refused, not the way in which the test issues."""
    try:
        show(issue(lab, tmp_path, (-DAY, DAY)))
    except ssl.SSLError as error:
        raise AssertionError(f"refused: {error}") from None
    except OSError:
        pass  # nonsense was said over a connection that had been let in


@pytest.mark.parametrize(
    ("when", "said"), [("past", "certificate has expired"), ("future", "not yet valid")]
)
def test_the_engine_refuses_a_server_of_another_time(
    lab: Lab, tmp_path: Path, when: str, said: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issue(lab, tmp_path, TIMES[when]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        state = tmp_path / "state"
        state.mkdir()
        (state / "lab.env").write_text(
            f"CONSUL_HTTP_ADDR=https://127.0.0.1:{listener.getsockname()[1]}\n"
            f"CONSUL_CACERT={lab.state}/secrets/tls/ca.pem\nCONSUL_HTTP_TOKEN=none\n"
        )

        def serve() -> None:
            while True:
                try:
                    raw, _ = listener.accept()
                    with context.wrap_socket(raw, server_side=True) as wrapped:
                        wrapped.recv(1)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(NotReadyError, match=said):
            Mesh(state).check()
