"""PayPal's signing certificates, and the check of a signature with one.

An event names the address of the certificate it was signed with, so the address is an attacker's
to choose: only PayPal's own hosts are asked, by their exact names, and the certificate must be
PayPal's by its name and chain. The library ``cryptography`` is an extra and is imported when the
first event is checked.

Source: developer.paypal.com/api/rest/webhooks ("verify message").
"""

from __future__ import annotations

import base64
import importlib.util
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from payctl.clock import Clock
from payctl.errors import Forbidden
from payctl.gateways.http import Http, Reply

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

HOSTS = {
    "live": frozenset({"api.paypal.com", "api-m.paypal.com"}),
    "sandbox": frozenset({"api.sandbox.paypal.com", "api-m.sandbox.paypal.com"}),
}
SUBJECTS = {
    "live": "messageverificationcerts.paypal.com",
    "sandbox": "messageverificationcerts.sandbox.paypal.com",
}
_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9_-]+")
_MAX_CERTIFICATE, _MAX_KEPT = 64 * 1024, 16
_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Signed:
    """What PayPal signs: ids, time and a CRC-32 of the body as an unsigned decimal."""

    transmission_id: str
    transmission_time: str
    webhook_id: str
    body: bytes

    def text(self) -> bytes:
        parts = (self.transmission_id, self.transmission_time, self.webhook_id,
                 str(zlib.crc32(self.body)))  # fmt: skip
        return "|".join(parts).encode()


def check(key: RSAPublicKey, signed: Signed, signature: str) -> None:
    """RSA with SHA-256 and PKCS #1 v1.5.

    Raises:
        Forbidden: ``event.bad_signature``.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        given = base64.b64decode(signature, validate=True)
        key.verify(given, signed.text(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError) as wrong:
        raise Forbidden("event.bad_signature") from wrong


class Certificates:
    """Certificates by address; each is fetched once and its chain checked for each event.

    Args:
        mode: ``live`` or ``sandbox``, which have hosts and names of their own.
        fetch: gets an address within PayPal's hosts; over HTTPS when not given.
        roots: trusted certificates as PEM; the machine's common ones when not given.
    """

    def __init__(
        self,
        clock: Clock,
        mode: str,
        *,
        fetch: Callable[[str], Reply] | None = None,
        roots: bytes | None = None,
    ) -> None:
        self._mode = mode
        self._http = Http(clock)
        self.fetch = fetch or self._get
        self.roots = roots
        self._kept: dict[str, bytes] = {}

    @property
    def available(self) -> bool:
        """Whether signatures can be checked here."""
        return importlib.util.find_spec("cryptography") is not None

    def key(self, url: str, at: datetime) -> RSAPublicKey | None:
        """The key of the certificate at *url*, valid at *at*; ``None`` when PayPal cannot be
        reached.

        Raises:
            Forbidden: ``event.bad_signature`` for an address, a certificate or a chain that is not
                PayPal's.
        """
        if not is_paypal(url, HOSTS[self._mode]):
            raise Forbidden("event.bad_signature")
        pem = self._kept.get(url)
        if pem is None:
            reply = self.fetch(url)
            if reply.fault is not None or (reply.status or 0) >= 500:
                return None
            if reply.status != 200 or len(reply.body) > _MAX_CERTIFICATE:
                raise Forbidden("event.bad_signature")
            pem = reply.body
        key = self._trusted(pem, at)
        if len(self._kept) < _MAX_KEPT:
            self._kept[url] = pem
        return key

    def close(self) -> None:
        self._http.close()

    def _get(self, url: str) -> Reply:
        return self._http.send("GET", url, headers={}, deadline_s=_DEADLINE_S)

    def _trusted(self, pem: bytes, at: datetime) -> RSAPublicKey:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

        try:
            chain = x509.load_pem_x509_certificates(pem)
            store = Store(x509.load_pem_x509_certificates(self.roots or _common_roots()))
            policy = PolicyBuilder().store(store).time(at)
            verifier = policy.build_server_verifier(x509.DNSName(SUBJECTS[self._mode]))
            verifier.verify(chain[0], chain[1:])
        except (ValueError, VerificationError) as wrong:
            raise Forbidden("event.bad_signature") from wrong
        key = chain[0].public_key()
        if not isinstance(key, RSAPublicKey):
            raise Forbidden("event.bad_signature")
        return key


def is_paypal(url: str, hosts: frozenset[str]) -> bool:
    """Whether *url* is a certificate on one of *hosts*: https, no port, no user, nothing behind."""
    try:
        split = urlsplit(url)
    except ValueError:
        return False
    plain = url == f"https://{split.netloc}{split.path}"
    return plain and split.netloc in hosts and _PATH.fullmatch(split.path) is not None


def _common_roots() -> bytes:
    from pathlib import Path

    import certifi

    return Path(certifi.where()).read_bytes()
