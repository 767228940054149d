"""TLS of the link: an authority of its own and the link's certificate, made once and renewed by deleting the latter."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medimg import atomic

AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY = "ca.pem", "ca.key", "link.pem", "link.key"
_DAYS = 825  # more than clients commonly take


def make(folder: Path, hosts: list[str]) -> None:
    """Write what is missing of the authority and the link's certificate.

    Args:
        folder: of the link.
        hosts: names and addresses that sites reach it by.

    Raises:
        InputError: the folder can't be written.
    """
    if not (folder / AUTHORITY).is_file():
        key = ec.generate_private_key(ec.SECP384R1())
        name = _name("medimg federation")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        ca = _certificate(name, name, key.public_key()).add_extension(constraints, critical=True)
        _write(folder / AUTHORITY_KEY, key)
        atomic.write_text(folder / AUTHORITY, _pem(ca.sign(key, hashes.SHA384())))
    if not (folder / CERTIFICATE).is_file():
        signer = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
        ca = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        key = ec.generate_private_key(ec.SECP384R1())
        names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys([*hosts, "localhost", "127.0.0.1"])])
        made = _certificate(_name("medimg link"), ca.subject, key.public_key()).add_extension(names, critical=False)
        _write(folder / KEY, key)
        atomic.write_text(folder / CERTIFICATE, _pem(made.sign(signer, hashes.SHA384())))


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(subject: x509.Name, issuer: x509.Name, public) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    with atomic.replacing(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_bytes(key.private_bytes(encoding, kind, serialization.NoEncryption()))
