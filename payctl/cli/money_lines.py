"""Where money is, in sentences for people.

Apart from :mod:`payctl.cli.standing` because a list tells nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence

from payctl.cli.messages import say
from payctl.insight.whereabouts import Part, Place, Verdict, Whereabouts, gives_back
from payctl.money import format_money

#: What is told before the answer itself, by what a line is about.
_ABOUT = {
    Part.RETURNED: "money.returned",
    Part.COST: "money.cost",
    Part.BORNE: "money.borne_by",
    Part.HELD: "money.held_at",
}
#: Answers about what is not in the books: of a payment, and of a refund.
_OPEN = {
    Part.AUTHORIZED: ("money.authorized", "money.authorized"),
    Part.APPROVED: ("money.approved", "money.approved"),
    Part.WAITING: ("money.waiting", "money.waiting_refund"),
    Part.UNKNOWN: ("money.unknown", "money.unknown_refund"),
}


def money_lines(where: Whereabouts, lang: str) -> list[str]:
    """Where the money is, in sentences; the last one is the answer itself."""
    lines = [
        say(sentence, lang, places=_listed(places))
        for part, sentence in _ABOUT.items()
        if (places := where.of(part))
    ]
    answers = []
    if belongs := where.of(Part.BELONGS):
        answers.append(say("money.belongs_to", lang, places=_listed(belongs)))
    for place in where.of(*_OPEN):
        plain, refund = _OPEN[place.part]
        amount = format_money(place.amount_minor, place.currency)
        sentence = refund if gives_back(place) else plain
        answers.append(
            say(sentence, lang, gateway=place.gateway or "-", account=place.account, amount=amount)
        )
    if where.verdict is Verdict.NOWHERE:
        answers.append(say("money.nowhere", lang))
    return [*lines, *answers] if answers else [*lines[1:], *lines[:1]]


def _listed(places: Sequence[Place]) -> str:
    return ", ".join(
        f"{place.account} ({format_money(place.amount_minor, place.currency)})" for place in places
    )
