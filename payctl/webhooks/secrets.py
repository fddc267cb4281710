"""Which secret signed a webhook, and what is to be written to replace one.

Secrets are references in the configuration, which a person edits, so payctl rotates none by itself:
it says what to write, and shows from the events that came which secret is in use. A secret is named
by its place in the list and by its reference, never by its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payctl.clock import Clock
from payctl.config import GatewaySection
from payctl.errors import Conflict, Forbidden, InvalidInput
from payctl.gateways.base import Event
from payctl.gateways.registry import build
from payctl.webhooks.model import ALTERED, Stored
from payctl.webhooks.reception import understood

#: The setting that holds them: a list, so that two are valid while one is being replaced.
KEY = "webhook_secrets"


@dataclass(frozen=True, slots=True)
class Matched:
    """A webhook that was verified.

    Attributes:
        place: which secret of the list fits, counted from 1; ``None`` where there is no list.
        places: how many there are.
    """

    event: Event
    place: int | None
    places: int


@dataclass(frozen=True, slots=True)
class Use:
    """How often one secret was used. ``reference`` is shown as ``config show`` does."""

    place: int
    reference: str
    events: int
    last_at: datetime | None


class Secrets:
    """The webhook secrets of one account."""

    def __init__(self, section: GatewaySection, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        given = section.settings.get(KEY) or []
        self.references: tuple[str, ...] = (given,) if isinstance(given, str) else tuple(given)

    def check(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Matched:
        """Verify a webhook and say which secret fits.

        Args:
            received_at: also hold the signed time against it.

        Raises:
            Forbidden: ``event.bad_signature``, ``event.stale``. InvalidInput: ``event.unreadable``.
        """
        event = self._event(body, headers, received_at, {})
        return Matched(event, self.place(body, headers), len(self.references))

    def place(self, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Which secret of the list fits, counted from 1."""
        for place, reference in enumerate(self.references, 1):
            try:
                self._event(body, headers, None, {KEY: [reference]})
            except Forbidden:
                continue
            except InvalidInput:
                return place  # signed well and not understood
            return place
        return None

    def use(self, stored: Sequence[Stored]) -> tuple[list[Use], int]:
        """How often each secret signed one of *stored*, and how many events none of them fits any
        more. Events of which something was taken out before they were stored are left out.
        """
        seen: dict[int | None, list[datetime]] = {}
        for each in stored:
            if each.proof == "signature" and ALTERED not in each.headers:
                at = self.place(each.body, each.headers)
                seen.setdefault(at, []).append(each.received_at)
        config = self._section.config
        uses = [
            Use(place, config.shown_secret(reference), len(times), max(times, default=None))
            for place, reference in enumerate(self.references, 1)
            for times in [seen.get(place, [])]
        ]
        return uses, len(seen.get(None, []))

    def check_new(self, reference: str) -> None:
        """Whether *reference* can be the next secret.

        Raises:
            InvalidInput: ``webhook.no_secrets`` for an account whose webhooks no list of secrets
                signs.
            NotConfigured: it is no reference, or cannot be read.
            Conflict: ``webhook.secret_known``: it is one of those that are valid already.
        """
        if not self.references:
            raise InvalidInput(
                "webhook.no_secrets", field="gateway", account=self._section.account,
                family=self._section.type,
            )  # fmt: skip
        resolve = self._section.secret
        if resolve(reference) in [resolve(each) for each in self.references]:
            raise Conflict("webhook.secret_known", account=self._section.account)

    def _event(
        self,
        body: bytes,
        headers: Mapping[str, str],
        received_at: datetime | None,
        instead: Mapping[str, Any],
    ) -> Event:
        settings = {**self._section.settings, **instead}
        gateway = build(
            self._section.type, self._section.account, settings, self._section.config.resolve,
            clock=self._clock,
        )  # fmt: skip
        try:
            return understood(gateway, body, headers, received_at)
        finally:
            close = getattr(gateway, "close", None)
            if close is not None:
                close()


def line(references: Sequence[str]) -> str:
    """The line of the configuration that makes *references* an account's secrets."""
    quoted = ", ".join(f'"{each}"' for each in references)
    return f"{KEY} = [{quoted}]"
