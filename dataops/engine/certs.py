"""Certificates of one cluster: an authority of its own, and a key and a certificate for each role.

1. Dask knows no users and no roles: who holds a certificate of a cluster's authority may run code on it. So each
   cluster has an authority of its own, and its key is kept by nobody: no more certificates come of it.
2. Dask doesn't compare names, so certificates name roles and not hosts, and the same set holds on all of them.
3. TLS 1.3 and nothing older; keys on the curve P-256.
4. Keys lie in a folder that only its owner can open, or in memory; never in Dask's configuration, which others see.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dataops.errors import AlreadyExists, InvalidInput, NotFound, Storage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, Name
    from distributed.security import Security

ROLES = ("scheduler", "worker", "client")
AUTHORITY = "ca.pem"
FILES = (AUTHORITY, *(f"{role}{ending}" for role in ROLES for ending in (".pem", ".key")))
DAYS = 30
MAX_DAYS = 825
_CLOCKS_DIFFER = timedelta(hours=1)

Certificates = Mapping[str, str]
"""The text of each of `FILES`, PEM."""


def new_certificates(*, at: datetime, days: int = DAYS) -> Certificates:
    """A new authority's certificate, and a key and a certificate for each of `ROLES`, valid for `days` from `at` on.

    Raises
    ------
    InvalidInput : `days` is not in 1 to 825.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"days: expected 1 to {MAX_DAYS}, found {days}")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dataops cluster")])
    span = (at - _CLOCKS_DIFFER, at + timedelta(days=days))
    files = {AUTHORITY: _pem(_authority(key, name, span))}
    for role in ROLES:
        own = ec.generate_private_key(ec.SECP256R1())
        files |= {f"{role}.pem": _pem(_issued(own, role, key, name, span)), f"{role}.key": _key_pem(own)}
    return files


def _authority(key: EllipticCurvePrivateKey, name: Name, span: tuple[datetime, datetime]) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    may = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    usage = x509.KeyUsage(**may, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _issued(
    own: EllipticCurvePrivateKey,
    role: str,
    authority: EllipticCurvePrivateKey,
    issuer: Name,
    span: tuple[datetime, datetime],
) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    from_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)])
    return (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(both, critical=False)
        .add_extension(from_authority, critical=False)
        .sign(authority, hashes.SHA256())
    )


def _pem(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def write_certificates(folder: Path, files: Certificates) -> None:
    """`files` in `folder`, which is made, and which nobody but its owner can open.

    Raises
    ------
    AlreadyExists : there is something in it.
    Storage : it can't be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AlreadyExists(f"{folder} isn't empty; certificates get a folder of their own")
        folder.chmod(0o700)
        for name, text in files.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="ascii")
    except (FileExistsError, NotADirectoryError):
        raise AlreadyExists(f"{folder} is a file; certificates get a folder of their own") from None
    except OSError as error:
        raise Storage(f"{folder}: can't be written: {error.strerror}") from None


def read_certificates(folder: Path, *, at: datetime, roles: tuple[str, ...] = ROLES) -> Certificates:
    """The authority's certificate, and keys and certificates of `roles`, in `folder`.

    Raises
    ------
    NotFound : one of them isn't there.
    InvalidInput : others may read the keys; a certificate is no certificate, or not valid at `at`.
    """
    names = [AUTHORITY, *(f"{role}{ending}" for role in roles for ending in (".pem", ".key"))]
    try:
        for name in names:
            if name.endswith(".key") and (folder / name).stat().st_mode & 0o077:
                raise InvalidInput(f"{folder / name}: others may read this key: chmod go= {folder / name}")
        files = {name: (folder / name).read_text(encoding="ascii") for name in names}
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: no such file; `dataops cluster certs {folder}` makes them") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{folder}: holds certificates that can't be read ({type(error).__name__})") from None
    for name in names:
        if name.endswith(".pem"):
            _require_valid(folder / name, files[name], at)
    return files


def _require_valid(path: Path, text: str, at: datetime) -> None:
    ends = expiry(text)
    if ends is None:
        raise InvalidInput(f"{path}: expected a certificate in PEM")
    if at > ends:
        raise InvalidInput(
            f"{path}: ended on {ends:%Y-%m-%d}; make new ones with `dataops cluster certs`, or start the cluster again "
            "where `dataops cluster start` made them"
        )


def expiry(text: str) -> datetime | None:
    """When the certificate in `text` ends, UTC; None if it is none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc.astimezone(UTC)
    except ValueError:
        return None


def end_of(files: Certificates) -> datetime | None:
    """When the first of the certificates ends, UTC; None where there are none."""
    ends = [expiry(text) for name, text in files.items() if name.endswith(".pem")]
    return min((end for end in ends if end is not None), default=None)


def only(files: Certificates, role: str) -> Certificates:
    """Those of `files` that `role` needs."""
    return {name: text for name, text in files.items() if name == AUTHORITY or name.startswith(f"{role}.")}


def security(files: Certificates) -> Security:
    """What Dask takes for connections with these certificates: encrypted ones and no others.

    Parameters
    ----------
    files : with those of one role at least, beside the authority's.
    """
    from distributed.security import Security

    words = {
        f"tls_{role}_{what}": files[f"{role}{ending}"]
        for role in ROLES
        for what, ending in (("cert", ".pem"), ("key", ".key"))
        if f"{role}{ending}" in files
    }
    return Security(
        require_encryption=True,
        tls_ca_file=files[AUTHORITY],
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **words,
    )
