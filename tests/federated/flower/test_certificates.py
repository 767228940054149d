"""TLS of the link: who has its ca.pem connects, who has another's does not."""

import contextlib
import datetime
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from federated.flower import certificates
from medimg.errors import InputError


def handshake(server, authority, host):
    """Connect to a server with the certificate in a folder, trusting an authority; the protocol that was agreed on."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server / certificates.CERTIFICATE, server / certificates.KEY)
    trusting = ssl.create_default_context(cafile=str(authority / certificates.AUTHORITY))
    here, there = socket.socketpair()

    def serve():
        try:
            serving.wrap_socket(there, server_side=True).close()
        except (ssl.SSLError, OSError):
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with trusting.wrap_socket(here, server_hostname=host) as client:
            return client.version()
    finally:
        here.close()
        thread.join()


@pytest.fixture
def link(tmp_path):
    certificates.make(tmp_path / "link", ["link.example.org", "192.0.2.7"])
    return tmp_path / "link"


@pytest.mark.parametrize("host", ["link.example.org", "192.0.2.7", "localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_connects(link, host):
    assert handshake(link, link, host) in ("TLSv1.2", "TLSv1.3")


def test_other_authorities_and_hosts_are_refused(link, tmp_path):
    certificates.make(tmp_path / "other", ["link.example.org"])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(link, tmp_path / "other", "link.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example\.org"):
        handshake(link, link, "other.example.org")


def test_what_is_there_is_kept_and_what_is_deleted_renewed_by_the_same_authority(link):
    names = (certificates.AUTHORITY, certificates.AUTHORITY_KEY, certificates.CERTIFICATE, certificates.KEY)
    before = {name: (link / name).read_bytes() for name in names}
    certificates.make(link, ["link.example.org"])
    assert {name: (link / name).read_bytes() for name in names} == before
    (link / certificates.CERTIFICATE).unlink()
    certificates.make(link, ["new.example.org"])
    assert (link / certificates.AUTHORITY).read_bytes() == before[certificates.AUTHORITY]
    assert handshake(link, link, "new.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(link, link, "link.example.org")


def test_an_authority_outlives_the_certificates_that_it_signs(link):
    """So that a new one is made of it without anything new at the sites."""
    ca, leaf = (x509.load_pem_x509_certificate((link / name).read_bytes()) for name in ("ca.pem", "link.pem"))
    assert ca.not_valid_after_utc - leaf.not_valid_after_utc > datetime.timedelta(days=5 * 825)
    assert certificates.until(link) == leaf.not_valid_after_utc.date()


def test_secret_files_are_their_owners_alone(link):
    for name in (certificates.AUTHORITY_KEY, certificates.KEY):
        assert stat.S_IMODE((link / name).stat().st_mode) == 0o600


@pytest.fixture
def port(link):
    """Of a server with the link's certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(link / certificates.CERTIFICATE, link / certificates.KEY)
    with socket.create_server(("", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                serving.wrap_socket(listening.accept()[0], server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]


def test_the_links_own_certificate_is_trusted(link, port):
    pem = link / certificates.AUTHORITY
    assert certificates.require_trusted(pem, "127.0.0.1", port) == pem.read_bytes()


def test_another_links_certificate_is_refused_at_once_and_by_name(port, tmp_path):
    certificates.make(tmp_path / "other", [])
    with pytest.raises(InputError, match=rf"--superlink 127\.0\.0\.1:{port}: .*--root-certificate must be its ca\.pem"):
        certificates.require_trusted(tmp_path / "other" / certificates.AUTHORITY, "127.0.0.1", port)


def test_a_link_of_another_name_is_refused_at_once(link, port):
    """Its certificate has not got that address."""
    with pytest.raises(InputError, match="certificate is refused"):
        certificates.require_trusted(link / certificates.AUTHORITY, "127.0.0.2", port)


def test_what_is_no_certificate_is_named(tmp_path):
    for content in (b"", b"no PEM", b"\xff\xfe"):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(InputError, match="no certificate; take the link's"):
            certificates.require_trusted(tmp_path / "ca.pem", "127.0.0.1", 9)


def test_a_link_that_is_not_there_yet_is_left_to_be_waited_for(link):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    assert certificates.require_trusted(link / certificates.AUTHORITY, "127.0.0.1", free)


@pytest.mark.parametrize(
    "host", ["https://link.example.org", "link.example.org:9092", "a b", "bücher.example", "-x", ""]
)
def test_a_host_is_a_name_or_an_address_alone(tmp_path, host):
    with pytest.raises(InputError, match="must be a name or address alone"):
        certificates.make(tmp_path, [host])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [certificates.AUTHORITY, certificates.AUTHORITY_KEY])
def test_an_authority_that_can_not_be_read_is_named(tmp_path, name):
    certificates.make(tmp_path, ["link.example.org", "10.0.0.1"])
    (tmp_path / name).write_text("cut")
    (tmp_path / certificates.CERTIFICATE).unlink()
    with pytest.raises(InputError, match="its authority can't be read"):
        certificates.make(tmp_path, [])
    (tmp_path / certificates.CERTIFICATE).write_text("cut")
    with pytest.raises(InputError, match=r"link\.pem: no certificate; delete it"):
        certificates.until(tmp_path)


def test_of_two_links_at_once_keys_and_certificates_fit(tmp_path, monkeypatch):
    """The first has written its authority's key when the second begins."""
    wrote, over, write = threading.Event(), threading.Event(), certificates.atomic.write_text

    def slow(path, text):
        if not wrote.is_set():
            wrote.set()
            over.wait(2)
        write(path, text)

    monkeypatch.setattr(certificates.atomic, "write_text", slow)
    first = threading.Thread(target=certificates.make, args=(tmp_path, ["link.example.org"]))
    first.start()
    assert wrote.wait(60)
    second = threading.Thread(target=lambda: (certificates.make(tmp_path, ["link.example.org"]), over.set()))
    second.start()
    for thread in (first, second):
        thread.join()
    for key, certificate in (
        (certificates.AUTHORITY_KEY, certificates.AUTHORITY),
        (certificates.KEY, certificates.CERTIFICATE),
    ):
        secret = serialization.load_pem_private_key((tmp_path / key).read_bytes(), None)
        public = x509.load_pem_x509_certificate((tmp_path / certificate).read_bytes()).public_key()
        assert secret.public_key() == public
