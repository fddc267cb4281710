"""Orange Money's tables: countries, addresses, and what each state and code means.

Sources: developer.orange.com (Web Payment), the operators' published guides of Orange Money
Cameroon and of Sonatel (Orange Money Senegal). What a state *proves* is our reading.
"""

from __future__ import annotations

from collections.abc import Mapping

from payctl.gateways.base import Outcome

WEBPAY_URL = "https://api.orange.com"
CAMEROON_URL = "https://api-s1.orange.cm"
SONATEL_URL = "https://api.orange-sonatel.com"
SONATEL_SANDBOX_URL = "https://api.sandbox.orange-sonatel.com"

#: Countries with Web Payment and the currency of each.
WEBPAY_COUNTRIES: Mapping[str, str] = {
    "CI": "XOF", "SN": "XOF", "ML": "XOF", "BF": "XOF", "CM": "XAF", "GN": "GNF", "MG": "MGA",
    "CD": "CDF", "LR": "LRD",
}  # fmt: skip
#: The sandbox takes a currency of its own, whatever the country; our side keeps the country's.
SANDBOX_CURRENCY = "OUV"
#: Orange counts in whole units of these, though ISO 4217 gives them two decimals.
WHOLE_UNITS: Mapping[str, int] = {"MGA": 100, "CDF": 100, "LRD": 100}

#: ``data.status`` of Cameroon (with both spellings it uses) and of Sonatel.
STATUSES: Mapping[str, Outcome] = {
    "INITIATED": Outcome.PENDING,
    "PENDING": Outcome.PENDING,
    "PRE_INITIATED": Outcome.PENDING,
    "ACCEPTED": Outcome.PENDING,
    "SUCCESS": Outcome.SUCCEEDED,
    "SUCCESSFULL": Outcome.SUCCEEDED,
    "SUCCESSFUL": Outcome.SUCCEEDED,
    "FAILED": Outcome.DECLINED,
    "REJECTED": Outcome.DECLINED,
    "EXPIRED": Outcome.EXPIRED,
    "CANCELLED": Outcome.CANCELED,
    "CANCELED": Outcome.CANCELED,
}
#: Codes of Sonatel's errors, as ours.
SONATEL_CODES: Mapping[str, str] = {
    "2000": "payer_not_found",
    "2001": "payer_not_found",
    "2013": "payer_not_allowed",
    "2020": "insufficient_funds",
    "2041": "limit_exceeded",
}
