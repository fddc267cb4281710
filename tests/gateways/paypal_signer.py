"""A signing certificate like PayPal's, and the authority it hangs from; made once a process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from payctl.gateways.paypal_certificates import SUBJECTS

STARTS = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = timedelta(days=3650)


class Signer:
    """A certificate for *host* and its key; ``roots`` is the authority's own, as PEM."""

    def __init__(self, host: str = SUBJECTS["sandbox"]) -> None:
        authority = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        root = _certificate("Test Root", "Test Root", authority, authority, None)
        leaf = _certificate(host, "Test Root", self._key, authority, host)
        self.roots = root.public_bytes(Encoding.PEM)
        self.chain = leaf.public_bytes(Encoding.PEM)

    def sign(self, text: bytes) -> bytes:
        return self._key.sign(text, PKCS1v15(), SHA256())


@cache
def paypal_signer() -> Signer:
    return Signer()


def _certificate(
    name: str,
    issuer: str,
    key: rsa.RSAPrivateKey,
    signed_with: rsa.RSAPrivateKey,
    host: str | None,
) -> x509.Certificate:
    root = host is None
    usage = {
        "digital_signature": not root, "key_cert_sign": root, "crl_sign": root,
        "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(STARTS)
        .not_valid_after(STARTS + LIFE)
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_with.public_key()), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if host is not None:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        made = made.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return made.sign(signed_with, SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
