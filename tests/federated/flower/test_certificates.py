"""TLS of the link: who has its ca.pem connects, who has another's does not."""

import socket
import ssl
import stat
import threading

import pytest

from federated.flower import certificates


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


def test_secret_files_are_their_owners_alone(link):
    for name in (certificates.AUTHORITY_KEY, certificates.KEY):
        assert stat.S_IMODE((link / name).stat().st_mode) == 0o600
