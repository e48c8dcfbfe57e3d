"""The certificate authority with which encrypted connections from the sandbox are opened, for hosts the
owner named in `egress.intercept` and for no others. Only commands in the sandbox are told to trust it."""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.kernel.errors import ConfigError

from .address import literal

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

YEARS = 5
DAYS = 7
MOST = 200
"""Hosts whose certificates are kept."""


class Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.Lock()
        self._contexts: dict[str, tuple[ssl.SSLContext, datetime]] = {}

    @property
    def certificate(self) -> Path:
        """For clients to trust; made when it is not there. Raises ConfigError, OSError."""
        path = self._folder / "ca.pem"
        with self._making:
            if not path.exists() or not (self._folder / "ca.key").exists():
                self._make()
        return path

    def context(self, host: str) -> ssl.SSLContext:
        """To answer as this host. Raises ConfigError without the library, OSError."""
        now = datetime.now(UTC)
        kept = self._contexts.get(host)
        if kept and kept[1] > now:
            return kept[0]
        _needed()
        certificate = self.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # OpenSSL takes certificates from files only.
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".tmp") as file:
            file.write(self._leaf(host, now))
            file.write(certificate.read_bytes())
            file.flush()
            context.load_cert_chain(file.name)
        while len(self._contexts) >= MOST:
            self._contexts.pop(next(iter(self._contexts)))
        self._contexts[host] = (context, now + timedelta(days=DAYS - 1))
        return context

    def _make(self) -> None:
        _needed()
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Perdure sandbox")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False, content_commitment=False, key_encipherment=False,
                    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                    encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(self._folder / "ca.key", secret, 0o600)
        _write(self._folder / "ca.pem", made.public_bytes(serialization.Encoding.PEM), 0o644)

    def _leaf(self, host: str, now: datetime) -> bytes:
        """Key and certificate for a host, as PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        issuer, issuer_key = self._issuer()
        key = ec.generate_private_key(ec.SECP256R1())
        ip = literal(host)
        name = x509.IPAddress(ip) if ip is not None else x509.DNSName(host)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=DAYS))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
            .sign(issuer_key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return secret + made.public_bytes(serialization.Encoding.PEM)

    def _issuer(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        issuer = x509.load_pem_x509_certificate((self._folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return issuer, key


def _needed() -> None:
    """Raises ConfigError."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "`egress.intercept` needs the package cryptography, which is not installed",
            hint="Install it: pip install 'perdure[intercept]'",
        )


def _write(path: Path, data: bytes, mode: int) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    part.replace(path)
