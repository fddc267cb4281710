"""``payctl payments`` from the command line to the provider and back."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl import ids
from payctl.db.tables import audit
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.cli.test_startup import loaded
from tests.payments.kit import Kit

pytestmark = pytest.mark.integration
PHONE = "+2250700000034"


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


def pay(kit: Kit, *words: str, token: str = "tok_visa", key: str = "k1") -> Result:
    line = [
        "payments", "process", "--amount", "25.00", "--currency", "EUR", "--method", "card",
        "--organiser", "org-1", "--preferred", "cards", "--payment-token", token, "--key", key,
    ]  # fmt: skip
    return run(*line, *words, app=kit.app)


def paid(kit: Kit, *words: str, token: str = "tok_visa", key: str = "k1") -> Any:
    return check(pay(kit, *words, "--json", token=token, key=key).json)


def test_the_line_of_the_issue_prints_the_object_of_the_issue(kit: Kit) -> None:
    done = run(
        "payments", "process", "--amount", "25.00", "--currency", "EUR", "--method", "card",
        "--email", "client@example.com", "--description", "Two entries", "--order", "o-1",
        "--organiser", "org-1", "--preferred", "stripe,paypal", "--key", "k1", "--yes", "--json",
        app=kit.app,
    )  # fmt: skip
    assert done.code == 0
    shown = check(done.json)
    assert list(shown)[:2] == ["schema", "id"]
    assert shown["schema"] == "payctl.payment/1" and ids.decode(shown["id"], "payment")
    assert (shown["status"], shown["legacy_status"]) == ("succeeded", "completed")
    assert (shown["amount_minor"], shown["currency"]) == (2500, "EUR")
    assert (shown["order"], shown["organiser"]) == ("o-1", "org-1")
    assert shown["gateway"] in kit.gateways and shown["provider_reference"]
    assert shown["next_action"] is None
    assert [attempt["status"] for attempt in shown["attempts"]] == ["succeeded"]
    assert "idempotency" not in done.out and "token" not in done.out


@pytest.mark.parametrize(
    ("token", "code", "status"),
    [
        ("tok_visa", 0, "succeeded"),
        ("tok_decline_insufficient_funds", 6, "failed"),
        ("tok_rejected", 6, "failed"),
        ("tok_not_sent", 7, "failed"),
        ("tok_3ds:60", 8, "requires_action"),
        ("tok_pending:60", 8, "pending"),
        ("tok_lost_answer", 8, "unknown"),
        ("tok_wrong_amount:5", 8, "failed"),
    ],
)
def test_exit_codes_tell_declined_from_unsent_from_unknown(
    kit: Kit, token: str, code: int, status: str
) -> None:
    done = pay(kit, "--json", token=token)
    assert (done.code, done.json["status"]) == (code, status)
    again = pay(kit, "--json", token=token)
    assert (again.code, again.json["replayed"]) == (code, True), "the same line ends the same"
    assert again.json["id"] == done.json["id"]
    followed = run("payments", "status", done.json["id"], "--json", app=kit.app)
    assert followed.code == code


def test_no_route_is_safe_to_repeat(kit: Kit) -> None:
    for account in kit.gateways:
        run("gateways", "drain", account, "--reason", "maintenance", app=kit.app)
    done = pay(kit, "--json")
    assert (done.code, done.json["failure_code"]) == (7, "no_route")


def test_what_no_gateway_could_ever_take_is_refused_with_who_takes_what(kit: Kit) -> None:
    words = ["payments", "process", "--amount", "1.000", "--currency", "TND", "--method", "card",
             "--organiser", "o", "--key", "k", "--json"]  # fmt: skip
    for line in (words, [*words, "--dry-run"]):
        done = run(*line, app=kit.app)
        assert (done.code, done.error["code"]) == (2, "route.no_currency")
        assert "1.000 TND" in done.error["message"]
        assert "cards: EUR, XOF; momo: EUR, XOF" in done.error["message"]
    assert run("payments", "list", "-q", app=kit.app).out == ""


def test_a_key_reused_for_another_payment_is_a_conflict(kit: Kit) -> None:
    pay(kit)
    other = pay(kit, "--order", "o-2", "--json")
    assert other.code == 5 and other.error["code"] == "key.reused"


def test_a_missing_key_is_made_and_said_before_anything_is_sent(kit: Kit) -> None:
    line = ["payments", "process", "--amount", "25.00", "--currency", "EUR", "--method", "card",
            "--organiser", "org-1", "--json"]  # fmt: skip
    done = run(*line, app=kit.app)
    key = re.match(r"key: (cli-[0-9a-f]{16})\n", done.err)
    assert key is not None and done.code == 0
    again = run(*line, "--key", key[1], app=kit.app)
    assert again.json["id"] == done.json["id"] and again.json["replayed"]


@pytest.mark.parametrize(
    ("amount", "currency", "code", "said"),
    [
        ("2500", "EUR", "amount.ambiguous", ("2500.00 EUR", "25.00 EUR")),
        ("25.0", "EUR", "amount.decimals", ("2 decimals",)),
        ("15000.00", "XOF", "amount.decimals", ("0 decimals",)),
        ("-25.00", "EUR", "amount.not_positive", ()),
        ("0.00", "EUR", "amount.not_positive", ()),
        ("1e3", "EUR", "amount.not_a_number", ()),
        ("99999999999999999.00", "EUR", "amount.too_large", ()),
        ("25.00", "EURO", "currency.unknown", ("EURO",)),
    ],
)
def test_amounts_cannot_be_misread(
    kit: Kit, amount: str, currency: str, code: str, said: tuple[str, ...]
) -> None:
    words = ["payments", "process", f"--amount={amount}", "--currency", currency, "--method",
             "card", "--organiser", "org-1", "--json"]  # fmt: skip
    done = run(*words, app=kit.app)
    assert done.code == 2 and done.error["code"] == code
    assert all(text in done.error["message"] for text in said)
    assert run("payments", "list", "-q", app=kit.app).out == ""


@pytest.mark.parametrize(
    ("words", "field", "code"),
    [
        (("--country", "XX"), "country", "country.unknown"),
        (("--email", "nobody"), "email", "email.malformed"),
        (("--phone", "0700"), "phone", "phone.malformed"),
        (("--order", "two words"), "order", "reference.malformed"),
        (("--sale-type", "shoes"), "sale_type", "choice.unknown"),
        (("--capture", "later"), "capture", "choice.unknown"),
        (("--return-url", "http://example.org"), "return_url", "url.malformed"),
        (("--metadata", "novalue"), "metadata", "metadata.malformed"),
        (("--line", "one;2"), "lines.1", "lines.malformed"),
        (("--line", "Entry;1;24.00;20"), "lines", "lines.sum"),
        (("--expires-in", "0m"), "expires-in", "time.bad_span"),
        (("--description", "card 4242 4242 4242 4242"), "description", "pan.refused"),
        (("--amount-minor", "2500"), "amount", "amount.both"),
    ],
)
def test_bad_input_names_its_field_and_writes_nothing(
    kit: Kit, words: tuple[str, ...], field: str, code: str
) -> None:
    done = pay(kit, *words, "--json")
    assert done.code == 2 and done.error["code"] == code
    assert done.error["details"][0]["field"] == field
    assert done.error["money"] and done.error["next"]
    assert "4242424242424242" not in re.sub(r"\D", "", done.err)
    assert run("payments", "list", "-q", app=kit.app).out == ""


def test_everything_that_is_said_is_kept_and_shown(kit: Kit) -> None:
    shown = paid(
        kit, "--order", "o-1", "--event", "ev-1", "--user", "u-1", "--email", "c@example.com",
        "--phone", PHONE, "--country", "CI", "--description", "Two entries", "--line",
        "Entry;2;12.50;20", "--metadata", "seat=12A", "--metadata", "row=C", "--return-url",
        "https://example.org/back", "--cancel-url", "https://example.org/no", "--expires-in", "30m",
    )  # fmt: skip
    whole = check(run("payments", "show", shown["id"], "--json", app=kit.app).json)
    assert whole["metadata"] == {"seat": "12A", "row": "C"}
    assert whole["lines"] == [
        {"no": 1, "description": "Entry", "quantity": 2, "unit_price_minor": 1250,
         "vat_ppm": 200_000, "currency": "EUR"}
    ]  # fmt: skip
    assert whole["phone"] == "+225 07 ** ** 34"
    assert (whole["event"], whole["user"], whole["country"]) == ("ev-1", "u-1", "CI")
    assert whole["expires_at"] == "2026-11-02T09:30:00.000Z"
    assert whole["cancel_url"] == "https://example.org/no"
    assert whole["route"]["chosen"] == "cards"


def test_a_phone_is_masked_everywhere_unless_it_is_revealed_and_audited(kit: Kit) -> None:
    shown = paid(kit, "--phone", PHONE)
    for words in (["list"], ["list", "--json"], ["list", "-o", "csv", "--fields", "id,phone"],
                  ["show", shown["id"], "-o", "table"], ["status", shown["id"]]):  # fmt: skip
        done = run("payments", *words, app=kit.app)
        assert PHONE not in done.out + done.err and "0700000034" not in done.out + done.err
    open_ = run("payments", "show", shown["id"], "--reveal", "--json", app=kit.app).json
    assert open_["phone"] == PHONE
    with kit.app.db.read() as tx:
        looks = tx.execute(sa.select(audit.c.data).where(audit.c.action == "revealed")).all()
    assert [row.data for row in looks] == [{"what": "phone"}]


def test_people_read_what_happened_to_the_money_and_how_to_undo_it(kit: Kit) -> None:
    done = pay(kit, "-o", "table")
    lines = done.err.strip().splitlines()
    assert lines[-2] == (
        "the money is now in wallet:org-1:pending (23.50 EUR), "
        "income:commission:ticket_sale (1.25 EUR), vat:FR (0.25 EUR)"
    )
    assert lines[-1].startswith("to undo: payctl refunds create pay_")
    assert max(map(len, done.out.splitlines())) <= 80
    declined = pay(kit, "-o", "table", token="tok_decline_card_declined", key="k2")
    assert "no money moved" in declined.err and "another --key" in declined.err
    french = pay(kit, "-o", "table", "--lang", "fr", token="tok_lost_answer", key="k3")
    assert "inconnu : 25.00 EUR est peut-être chez cards" in french.err
    assert "montant" in french.out and "ensuite : payctl payments sync pay_" in french.err


def test_the_dry_run_shows_route_request_and_entries_and_sends_nothing(kit: Kit) -> None:
    planned = check(pay(kit, "--dry-run", "--json", "--phone", PHONE).json)
    assert planned["gateway"] == "cards"
    assert planned["request"]["amount_minor"] == 2500
    assert not {"email", "phone", "payment_token", "idempotency_key"} & set(planned["request"])
    assert planned["candidates"][0]["account"] == "cards"
    real = pay(kit)
    assert real.code == 0
    debits = sum(e["amount_minor"] for e in planned["entries"] if e["side"] == "Dr")
    credits = sum(e["amount_minor"] for e in planned["entries"] if e["side"] == "Cr")
    assert debits == credits == 2500
    assert len(kit.gateways["cards"].payments()) == 1
    table = pay(kit, "--dry-run", "-o", "table", key="k9").out
    assert "wallet:org-1:pending" in table and max(map(len, table.splitlines())) <= 80
    plain = pay(kit, "--dry-run", key="k10").out
    assert "wallet:org-1:pending" in plain


def test_lists_page_filter_and_stream(kit: Kit) -> None:
    names = [paid(kit, "--order", f"o-{n}", key=f"k{n}")["id"] for n in range(3)]
    paid(kit, token="tok_decline_card_declined", key="no")
    first = run("payments", "list", "--status", "succeeded", "--limit", "2", "--json", app=kit.app)
    page = check(first.json)
    assert [item["id"] for item in page["items"]] == [names[2], names[1]]
    rest = run("payments", "list", "--status", "succeeded", "--after", page["next"], "--json",
               app=kit.app)  # fmt: skip
    assert [item["id"] for item in check(rest.json)["items"]] == [names[0]]
    assert rest.json["next"] is None
    assert run("payments", "list", "--all", "-q", app=kit.app).out.split()[-1] == names[0]
    assert run("payments", "list", "--order", "o-1", "-q", app=kit.app).out.split() == [names[1]]
    assert run("payments", "list", "--status", "paid", app=kit.app).code == 2
    assert run("payments", "list", "--after", "rfd_x", app=kit.app).code == 2
    table = run("payments", "list", "-o", "table", app=kit.app)
    assert max(map(len, table.out.splitlines())) <= 80


def test_an_unknown_payment_is_not_found(kit: Kit) -> None:
    unknown = ids.encode("payment", kit.app.db.ids.new())
    for verb in ("show", "status", "capture", "sync"):
        done = run("payments", verb, unknown, "--json", app=kit.app)
        assert (done.code, done.error["code"]) == (3, "payment.not_found"), verb
    assert run("payments", "show", "pay_nonsense", app=kit.app).code == 2


def test_capture_in_parts_then_cancel_the_rest(kit: Kit) -> None:
    held = paid(kit, "--capture", "manual")
    assert (held["status"], held["capture"]) == ("authorized", "manual")
    planned = run("payments", "capture", held["id"], "--amount", "10.00", "--partial", "--dry-run",
                  "--json", app=kit.app)  # fmt: skip
    assert check(planned.json)["payment"]["captured_minor"] == 1000
    part = run("payments", "capture", held["id"], "--amount", "10.00", "--partial", "--key", "c1",
               "--json", app=kit.app)  # fmt: skip
    assert (part.code, check(part.json)["captured_minor"]) == (0, 1000)
    too_much = run("payments", "capture", held["id"], "--amount", "20.00", "--json", app=kit.app)
    assert (too_much.code, too_much.error["code"]) == (5, "capture.too_much")
    told = run("payments", "show", held["id"], "-o", "table", app=kit.app).err
    assert "not taken: 15.00 EUR is only reserved" in told
    done = run("payments", "cancel", held["id"], "--reason", "enough", "--json", app=kit.app)
    assert (done.code, check(done.json)["status"]) == (0, "succeeded")
    assert kit.our_totals() == kit.provider_totals()


def test_cancel_of_what_is_over_is_a_conflict_with_the_way_out(kit: Kit) -> None:
    done = paid(kit)
    refused = run("payments", "cancel", done["id"], "--reason", "x", "--json", app=kit.app)
    assert (refused.code, refused.error["code"]) == (5, "payment.not_cancelable")
    assert f"payctl refunds create {done['id']}" in refused.error["next"]


def test_a_lost_capture_exits_8_and_sync_finds_it(kit: Kit) -> None:
    held = paid(kit, "--capture", "manual", token="tok_capture_lost_answer")
    lost = run("payments", "capture", held["id"], "--json", app=kit.app)
    assert lost.code == 8
    kit.clock.advance(timedelta(minutes=1))
    found = run("payments", "sync", held["id"], "--json", app=kit.app)
    assert found.err == ""
    assert (found.code, found.json["captured_minor"]) == (0, 2500)


def test_sync_of_what_is_due_of_what_is_old_and_of_what_providers_list(kit: Kit) -> None:
    lost = paid(kit, token="tok_lost_answer")
    nothing = check(run("payments", "sync", "--json", app=kit.app).json)
    assert (nothing["counts"], nothing["changed"]) == ({}, [])
    kit.clock.advance(timedelta(minutes=1))
    planned = check(run("payments", "sync", "--dry-run", "--json", app=kit.app).json)
    assert planned["planned"] == [lost["id"]]
    done = check(run("payments", "sync", "--older-than", "30m", "--json", app=kit.app).json)
    assert done["changed"] == []
    done = check(run("payments", "sync", "--json", app=kit.app).json)
    assert (done["counts"], done["changed"]) == ({"applied": 1}, [lost["id"]])
    old = paid(kit, token="tok_lost_answer", key="k2")
    kit.clock.advance(timedelta(seconds=2))
    aged = check(run("payments", "sync", "--older-than", "0m", "--json", app=kit.app).json)
    assert aged["changed"] == [old["id"]]
    listed = check(run("payments", "sync", "--since", "1d", "--json", app=kit.app).json)
    assert set(listed["counts"]) <= {"nothing_new", "not_listable", "applied"}
    two = run("payments", "sync", lost["id"], "--since", "1d", "--json", app=kit.app)
    assert (two.code, two.error["code"]) == (2, "sync.one_way")


def test_sync_says_when_a_provider_cannot_be_asked(kit: Kit) -> None:
    paid(kit, token="tok_lost_answer")
    kit.gateways["cards"].add_outage(3600)
    kit.clock.advance(timedelta(minutes=1))
    done = run("payments", "sync", "--json", app=kit.app)
    assert (done.code, done.json["counts"]) == (8, {"unreachable": 1})


def test_watching_follows_a_payment_to_its_end(kit: Kit) -> None:
    waiting = paid(kit, token="tok_pending:30")
    done = run("payments", "status", waiting["id"], "--watch", "-o", "jsonl", app=kit.app)
    states = [line.partition('"status": "')[2].partition('"')[0] for line in done.out.splitlines()]
    assert (done.code, states) == (0, ["pending", "succeeded"])
    stuck = paid(kit, token="tok_3ds:99999", key="k2")
    given_up = run("payments", "status", stuck["id"], "--watch", "--for", "2m", "--json",
                   app=kit.app)  # fmt: skip
    assert (given_up.code, given_up.json["status"]) == (8, "requires_action")


def test_status_says_that_an_approved_payment_waits_and_watching_takes_it(kit: Kit) -> None:
    waiting = paid(kit, token="tok_approval")
    cards = kit.gateways["cards"]
    cards.add_script("complete 429")
    assert cards.customer_acts(waiting["attempts"][0]["our_reference"])
    run("payments", "sync", waiting["id"], app=kit.app)
    told = run("payments", "status", waiting["id"], app=kit.app)
    assert told.code == 8
    assert "approved by the customer and not taken yet" in told.err
    assert f"payctl payments sync {waiting['id']}" in told.err
    done = run("payments", "status", waiting["id"], "--watch", "--json", app=kit.app)
    assert (done.code, done.json["status"]) == (0, "succeeded")


def test_statistics_never_add_currencies_together(kit: Kit) -> None:
    paid(kit)
    line = ["payments", "process", "--amount", "15000", "--currency", "XOF", "--method",
            "mobile_money", "--organiser", "org-1", "--phone", PHONE, "--key", "x"]  # fmt: skip
    assert run(*line, app=kit.app).code == 0
    lines = check(run("payments", "statistics", "--by", "status", "--json", app=kit.app).json)
    assert [(each["value"], each["currency"], each["captured_minor"]) for each in lines["items"]] \
        == [("succeeded", "EUR", 2500), ("succeeded", "XOF", 15000)]  # fmt: skip
    table = run("payments", "statistics", "--by", "organiser", "-o", "table", app=kit.app).out
    assert "25.00 EUR" in table and "15 000 XOF" in table
    assert run("payments", "statistics", "--by", "shoe", app=kit.app).code == 2


def test_stats_show_what_was_sold_lately_and_refresh_themselves(kit: Kit) -> None:
    paid(kit)
    kit.clock.advance(timedelta(hours=2))
    lines = check(run("stats", "--json", app=kit.app).json)["items"]
    assert [(each["value"], each["captured_minor"]) for each in lines] == [("cards", 2500)]
    assert sum(lines[0]["trend"]) == 1 and lines[0]["gateway_p95_ms"] is not None
    assert check(run("stats", "--last", "1h", "--json", app=kit.app).json)["items"] == []
    seen = run("stats", "--watch", "--every", "1", "--for", "0m", "-o", "csv", app=kit.app)
    assert seen.code == 0 and "0 0 0 1 0," in seen.out
    table = run("stats", "-o", "table", app=kit.app)
    assert "\u2588" in table.out and max(map(len, table.out.splitlines())) <= 80
    for words in (["--last", "soon"], ["--every", "0"], ["--by", "shoe"]):
        assert run("stats", *words, app=kit.app).code == 2, words


def test_a_live_profile_shows_itself_and_the_amount_before_it_takes_money(
    kit: Kit, tmp_path: Path
) -> None:
    file = tmp_path / "live.toml"
    file.write_text("[profiles.live]\nlive = true\n")
    line = ["payments", "process", "--amount", "25.00", "--currency", "EUR", "--method", "card",
            "--organiser", "org-1", "--key", "k1", "--json", "--profile", "live",
            "--config", str(file)]  # fmt: skip
    asked = run(*line, app=kit.app)
    assert asked.code == 2 and asked.error["code"] == "confirm.required"
    assert "25.00 EUR" in asked.err and "LIVE" in asked.err
    refused = run(*line, app=kit.app, typed="n\n")
    assert refused.code == 130
    assert kit.gateways["cards"].payments() == []
    assert run(*line, "--yes", app=kit.app).code == 0


def test_a_list_that_is_piped_loads_no_provider_and_no_drawing(tmp_path: Path) -> None:
    loaded(tmp_path, "payments", "list")  # the first command makes the book
    for noun in ("payments", "refunds"):
        modules, code, _ = loaded(tmp_path, noun, "list")
        assert code == 0
        assert not modules & {"stripe", "httpx", "reportlab", "alembic", "psycopg", "rich"}
