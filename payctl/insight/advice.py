"""What an operator may do next about a payment, as commands to type. Pure.

Nothing unsafe is ever offered: while an outcome is open the only advice is to ask again, because
paying anew could take the money twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from payctl.gateways.disputes import DisputeStatus
from payctl.ids import encode
from payctl.ledger.accounts import float_, full_code
from payctl.payments.details import PaymentDetail
from payctl.payments.model import INSUFFICIENT_FLOAT, Operation, PaymentStatus, RefundState
from payctl.payments.records import Payment, Refund

if TYPE_CHECKING:
    from payctl.insight.dossier import Dossier


def advice(dossier: Dossier) -> list[str]:
    """The commands, the most urgent first."""
    lines = [
        f"payctl cases show {encode('case', case.id)}"
        for case, _events in dossier.cases
        if case.state != "resolved"
    ]
    if dossier.found is None:
        return lines
    for refund in dossier.found.refunds:
        lines += _about_refund(refund)
    for dispute in dossier.found.disputes:
        if dispute.status in (DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE):
            lines.append(f"payctl disputes show {encode('dispute', dispute.id)}")
    return lines + _about_payment(dossier.found)


def about_refund(refund: Refund) -> list[str]:
    """What may be done about one refund."""
    return _about_refund(refund)


def _about_refund(refund: Refund) -> list[str]:
    name = encode("refund", refund.id)
    match refund.state:
        case RefundState.AWAITING_APPROVAL if refund.approval_id is not None:
            return [f"payctl approvals approve {encode('approval', refund.approval_id)}"
                    " --reason TEXT"]  # fmt: skip
        case RefundState.APPROVED if refund.failure_code == INSUFFICIENT_FLOAT:
            account = full_code(float_(refund.gateway_account), refund.currency)
            return [f"payctl ledger account {account}", f"payctl refunds send {name}"]
        case RefundState.PROPOSED | RefundState.APPROVED:
            return [f"payctl refunds send {name}"]
        case RefundState.SENDING | RefundState.PENDING | RefundState.UNKNOWN:
            return [f"payctl refunds status {name}"]
        case RefundState.REVERSED:
            return [f"payctl refunds retry {name} --reason TEXT"]
        case _:
            return []


def _about_payment(found: PaymentDetail) -> list[str]:
    payment = found.payment
    name = encode("payment", payment.id)
    busy = [
        each
        for each in found.attempts
        if each.state.live and each.operation in (Operation.CAPTURE, Operation.VOID)
    ]
    match payment.status:
        case PaymentStatus.UNKNOWN | PaymentStatus.PENDING | PaymentStatus.PROCESSING:
            return [f"payctl payments sync {name}"]
        case PaymentStatus.CREATED:
            return ["payctl payments sync"]
        case PaymentStatus.REQUIRES_ACTION if found.approved:
            return [f"payctl payments sync {name}"]
        case PaymentStatus.REQUIRES_ACTION:
            return [f"payctl payments status {name} --watch"]
        case PaymentStatus.AUTHORIZED:
            if busy:
                return [f"payctl payments sync {name}"]
            return [
                f"payctl payments capture {name}",
                f"payctl payments cancel {name} --reason TEXT",
            ]
        case PaymentStatus.SUCCEEDED:
            return _refundable(payment, name)
        case _:
            return []


def _refundable(payment: Payment, name: str) -> list[str]:
    if payment.refundable_minor <= 0:
        return []
    return [f"payctl refunds create {name} --full --reason TEXT"]
