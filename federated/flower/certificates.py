"""TLS of the link: an authority of its own and the link's certificate, made once and renewed by deleting the latter."""

import datetime
import ipaddress
import re
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medimg import atomic
from medimg.errors import InputError
from medimg.lock import in_turn
from medimg.untrusted.printable import printable

AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY = "ca.pem", "ca.key", "link.pem", "link.key"
_DAYS = 825  # of the link's certificate: more than clients commonly take
_YEARS = 20  # of the authority's, which every site has
_SECONDS = 5.0  # for a handshake
_NAME = re.compile(r"[A-Za-z0-9_*]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def make(folder: Path, hosts: list[str]) -> None:
    """Write what is missing of the authority and the link's certificate.

    Args:
        folder: of the link.
        hosts: names and addresses that sites reach it by.

    Raises:
        InputError: the folder can't be written, a file in it is none of these, or a host is no name.
    """
    names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys([*hosts, "localhost", "127.0.0.1"])])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of two links at once the certificate of one would lie beside the key of the other.
        with in_turn(folder):
            _make(folder, names)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error


def _make(folder: Path, names: x509.SubjectAlternativeName) -> None:
    if not (folder / AUTHORITY).is_file():
        key = ec.generate_private_key(ec.SECP384R1())
        name = _name("medimg federation")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        ca = _certificate(name, name, key.public_key(), 365 * _YEARS).add_extension(constraints, critical=True)
        _write(folder / AUTHORITY_KEY, key)
        atomic.write_text(folder / AUTHORITY, _pem(ca.sign(key, hashes.SHA384())))
    if not (folder / CERTIFICATE).is_file():
        try:
            signer = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
            ca = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder}: its authority can't be read ({AUTHORITY}, {AUTHORITY_KEY}); restore both, or delete "
                f"{AUTHORITY} to make another, which every site then needs"
            ) from error
        key = ec.generate_private_key(ec.SECP384R1())
        made = _certificate(_name("medimg link"), ca.subject, key.public_key(), _DAYS).add_extension(
            names, critical=False
        )
        _write(folder / KEY, key)
        atomic.write_text(folder / CERTIFICATE, _pem(made.sign(signer, hashes.SHA384())))


def until(folder: Path) -> datetime.date:
    """The last day of the link's certificate."""
    try:
        return x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).not_valid_after_utc.date()
    except ValueError as error:
        raise InputError(f"{folder / CERTIFICATE}: no certificate; delete it, and the link makes another") from error


def require_trusted(authority: Path, host: str, port: int) -> bytes:
    """Refuse a link whose certificate is not what is wanted there, which gRPC would only try again and again.

    Args:
        authority: PEM file of the link's authority.
        host: of the link.
        port: of the link; if nobody listens there, or it is behind a proxy, nothing is found out.

    Returns:
        The file's content.

    Raises:
        InputError: the file is no certificate, or the link's is of another authority, another host or another time.
    """
    try:
        raw = authority.read_bytes()
        x509.load_pem_x509_certificate(raw)
    except OSError as error:
        raise InputError(f"--root-certificate {authority}: can't be read ({error.strerror or error})") from error
    except ValueError as error:
        raise InputError(f"--root-certificate {authority}: no certificate; take the link's {AUTHORITY}") from error
    try:
        with socket.create_connection((host, port), _SECONDS) as plain:
            ssl.create_default_context(cafile=str(authority)).wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        raise InputError(
            f"--superlink {host}:{port}: its certificate is refused ({error.verify_message}); --root-certificate must "
            f"be its {AUTHORITY}, and a new one be made by deleting {CERTIFICATE} there and starting "
            "'medimg federate link' with --host for every name that sites use"
        ) from error
    except OSError:
        # Nobody is there yet.
        pass
    return raw


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _NAME.fullmatch(host):
            raise InputError(
                f"--host {printable(host, 100)}: must be a name or address alone, e.g. link.example.org"
            ) from None
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(subject: x509.Name, issuer: x509.Name, public, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    with atomic.replacing(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_bytes(key.private_bytes(encoding, kind, serialization.NoEncryption()))
