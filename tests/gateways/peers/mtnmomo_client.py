"""Sparkplug's client ``mtnmomo`` against the address given first; prints what it saw as JSON.

It prints things of its own, so what it saw stands on the last line. It takes the numbers of MTN
Uganda only.
"""

import json
import sys

from mtnmomo.collection import Collection
from mtnmomo.disbursement import Disbursement
from mtnmomo.errors import APIError

base, ck, cu, cs, dk, du, ds = sys.argv[1:]
config = {
    "ENVIRONMENT": "sandbox", "BASE_URL": base,
    "COLLECTION_PRIMARY_KEY": ck, "COLLECTION_USER_ID": cu, "COLLECTION_API_SECRET": cs,
    "DISBURSEMENT_PRIMARY_KEY": dk, "DISBURSEMENT_USER_ID": du, "DISBURSEMENT_API_SECRET": ds,
}  # fmt: skip
seen = {}
collection = Collection(config)
paid = collection.requestToPay(
    mobile="256772123456", amount="600", external_id="o-1", payee_note="order",
    payer_message="thanks", currency="EUR", callback_url="http://localhost/hook",
)  # fmt: skip
found = collection.getTransactionStatus(paid["transaction_ref"])
seen["paid"] = [found["status"], found["amount"], found["payer"]["partyId"]]
seen["collected"] = collection.getBalance()
try:
    collection.getTransactionStatus("00000000-0000-4000-8000-000000000000")
except APIError as error:
    seen["unknown"] = str(error)
try:
    collection.requestToPay(mobile="256772123456", amount="600", external_id="o-2", currency="UGX")
except APIError as error:
    seen["currency"] = str(error)
disbursement = Disbursement(config)
sent = disbursement.transfer(
    amount="100", mobile="256772123456", external_id="o-3", payee_note="a", payer_message="b",
    currency="EUR",
)  # fmt: skip
seen["transferred"] = disbursement.getTransactionStatus(sent["transaction_ref"])["status"]
seen["float"] = disbursement.getBalance()
print(json.dumps(seen))
