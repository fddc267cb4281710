"""Tables of commission rates: dated history that is only ever added to."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, ddl, table
from payctl.db.types import Flag, Id, Int, Moment, Text

#: What the platform earns a commission on.
SALE_TYPES = ("ticket_sale", "template_sale")
#: In whose name a sale is made (postings page: rule 1 and the remark on templates).
ROLES = ("agent", "principal")

_sale_types = ", ".join(f"'{each}'" for each in SALE_TYPES)
_roles = ", ".join(f"'{each}'" for each in ROLES)

#: One row is one rate from one moment on. An empty organiser, currency or country means "any"; the
#: unique constraint makes two rates for the same scope and moment impossible, so that the most
#: specific one is always a single row. A withdrawn row ends the scope: the next wider one counts.
commission_rate = table(
    "commission_rate",
    sa.Column("id", Id, primary_key=True),
    sa.Column("sale_type", Text, nullable=False),
    sa.Column("organiser", Text, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("country", Text, nullable=False),
    sa.Column("valid_from", Moment, nullable=False),
    sa.Column("rate_ppm", Int, nullable=False),
    sa.Column("minimum_minor", Int),
    sa.Column("maximum_minor", Int),
    sa.Column("vat_country", Text),
    sa.Column("vat_ppm", Int, nullable=False),
    sa.Column("withdrawn", Flag, nullable=False),
    sa.Column("set_by", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.UniqueConstraint("sale_type", "organiser", "currency", "country", "valid_from"),
    sa.CheckConstraint(f"sale_type IN ({_sale_types})", name="sale_type"),
    sa.CheckConstraint("rate_ppm BETWEEN 0 AND 1000000", name="rate"),
    sa.CheckConstraint("vat_ppm BETWEEN 0 AND 1000000", name="vat"),
    sa.CheckConstraint("vat_ppm = 0 OR vat_country IS NOT NULL", name="vat_country"),
    sa.CheckConstraint(
        "(minimum_minor IS NULL AND maximum_minor IS NULL) OR currency <> ''",
        name="bounds_currency",
    ),
    sa.CheckConstraint("minimum_minor IS NULL OR minimum_minor >= 0", name="minimum"),
    sa.CheckConstraint(
        "maximum_minor IS NULL OR maximum_minor >= COALESCE(minimum_minor, 0)", name="maximum"
    ),
)
commission_rate.info["seeded"] = "set_by = 'payctl'"
append_only("commission_rate")

#: Whether the platform sells a type in its own name; the newest row at a moment counts.
commission_role = table(
    "commission_role",
    sa.Column("id", Id, primary_key=True),
    sa.Column("sale_type", Text, nullable=False),
    sa.Column("valid_from", Moment, nullable=False),
    sa.Column("role", Text, nullable=False),
    sa.Column("set_by", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.UniqueConstraint("sale_type", "valid_from"),
    sa.CheckConstraint(f"sale_type IN ({_sale_types})", name="sale_type"),
    sa.CheckConstraint(f"role IN ({_roles})", name="role"),
)
commission_role.info["seeded"] = "set_by = 'payctl'"
append_only("commission_role")

#: Micros of 2000-01-01T00:00:00Z: the seeded rates were always valid.
_SINCE = (946_684_800_000_000, "TIMESTAMPTZ '2000-01-01 00:00:00+00'")
#: Commission per sale type, and the standard VAT rate of the country a book in this currency is
#: usually kept in: France (CGI art. 278), Cote d'Ivoire (CGI art. 359), Cameroon (CGI art. 142,
#: with council surcharge). Any other currency has no rate until someone sets one.
_COMMISSIONS = {"ticket_sale": 50_000, "template_sale": 300_000}
_VAT = {"EUR": ("FR", 200_000), "XOF": ("CI", 180_000), "XAF": ("CM", 192_500)}


_RATE_COLUMNS = (
    "id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm,"
    " withdrawn, set_by, reason, created_at"
)
_ROLE_COLUMNS = "id, sale_type, valid_from, role, set_by, reason, created_at"


def _seeds(*, sqlite: bool) -> tuple[str, ...]:
    since = str(_SINCE[0]) if sqlite else _SINCE[1]
    no = "0" if sqlite else "FALSE"
    out = []
    number = 0

    def row_id() -> str:
        nonlocal number
        number += 1
        digits = f"{number:032x}"
        if sqlite:
            return f"X'{digits}'"
        return f"'{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}'"

    for sale_type, rate_ppm in _COMMISSIONS.items():
        for currency, (country, vat_ppm) in _VAT.items():
            out.append(
                f"INSERT INTO commission_rate ({_RATE_COLUMNS}) VALUES"  # noqa: S608 - constants
                f" ({row_id()}, '{sale_type}', '', '{currency}', '', {since}, {rate_ppm},"
                f" '{country}', {vat_ppm}, {no}, 'payctl', 'default', {since})"
            )
    for sale_type in SALE_TYPES:
        out.append(
            f"INSERT INTO commission_role ({_ROLE_COLUMNS}) VALUES"  # noqa: S608 - constants
            f" ({row_id()}, '{sale_type}', {since}, 'agent', 'payctl', 'default', {since})"
        )
    return tuple(out)


ddl("commission_seeds", postgresql=_seeds(sqlite=False), sqlite=_seeds(sqlite=True))
