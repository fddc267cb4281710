"""``payctl orange``: what Orange Money says, changing nothing."""

from __future__ import annotations

from payctl.cli.framework import noun
from payctl.cli.provider import add_balance, add_status

app = noun("orange")
add_status(app, "orange", "MP260928.1029.C00042")
add_balance(app, "orange")
