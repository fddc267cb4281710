"""Configuration: precedence, references, the former service's variables, live and test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl import config_file
from payctl.config import Config, load
from payctl.errors import InvalidInput, NotConfigured, PayctlError
from payctl.secret import conceal
from payctl.settings import SETTINGS

pytestmark = pytest.mark.unit

LAYERS = ("flag", "environment", "file", "former", "default")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, toml: str = "", **more: Any) -> Config:
    """Load with *toml* as ``./payctl.toml`` and nothing else on the machine."""
    if toml:
        (folder / "payctl.toml").write_text(toml)
    environ = {"HOME": str(folder / "home"), **more.pop("environ", {})}
    return load(environ=environ, folder=folder, **more)


def code_of(caught: pytest.ExceptionInfo[PayctlError]) -> str:
    return caught.value.code


def test_with_nothing_at_all_there_is_a_sqlite_book_and_sandboxes(folder: Path) -> None:
    config = read(folder)
    assert config.database_url == f"sqlite:///{folder}/home/.local/share/payctl/book.sqlite3"
    assert config.place == f"{folder}/home/.local/share/payctl/book.sqlite3"
    assert {section.type for section in config.gateways.values()} == {"sandbox"}
    assert len(config.gateways) > 1
    assert not config.live
    assert (config.book, config.timezone, config.country) == ("payctl", "Africa/Abidjan", "CI")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(present=st.sets(st.sampled_from(LAYERS[:4])))
def test_the_highest_layer_that_speaks_wins(folder: Path, present: set[str]) -> None:
    values = {"flag": "error", "environment": "warning", "file": "debug", "former": "info"}
    toml = (
        '[profiles.default]\nlog.level = "debug"\n' if "file" in present else "[profiles.default]"
    )
    environ = {}
    if "environment" in present:
        environ["PAYCTL_LOG_LEVEL"] = values["environment"]
    if "former" in present:
        environ["LOG_LEVEL"] = values["former"]
    flags = {"log.level": values["flag"]} if "flag" in present else {}
    config = read(folder, toml, environ=environ, flags=flags)
    winner = next((layer for layer in LAYERS if layer in present), "default")
    assert config.origin("log.level").kind == winner
    assert config.get("log.level") == values.get(winner, "info")


def test_files_are_read_project_first_then_the_users(folder: Path) -> None:
    user = folder / "home" / ".config" / "payctl" / "payctl.toml"
    user.parent.mkdir(parents=True)
    user.write_text('[profiles.default]\nbook = "users"\ncountry = "SN"\n')
    config = read(folder, '[profiles.default]\nbook = "project"\n')
    assert (config.book, config.country) == ("project", "SN")
    assert str(config.origin("country")) == f"file {user}"


def test_an_asked_file_stands_alone(folder: Path) -> None:
    other = folder / "other.toml"
    other.write_text('[profiles.default]\ncountry = "CM"\n')
    toml = '[profiles.default]\nbook = "project"\n'
    assert read(folder, toml, path=other).book == "payctl"
    assert read(folder, environ={"PAYCTL_CONFIG": str(other)}).country == "CM"
    with pytest.raises(NotConfigured) as caught:
        read(folder, path=folder / "missing.toml")
    assert code_of(caught) == "config.no_file"


def test_the_profile_is_what_was_typed(folder: Path) -> None:
    toml = 'default_profile = "b"\n[profiles.a]\nbook = "a"\n[profiles.b]\nbook = "b"\n'
    assert read(folder, toml).book == "b"
    assert read(folder, environ={"PAYCTL_PROFILE": "a"}).book == "a"
    assert read(folder, environ={"PAYCTL_PROFILE": "b"}, profile="a").book == "a"
    with pytest.raises(NotConfigured) as caught:
        read(folder, profile="c")
    assert code_of(caught) == "config.no_profile"
    with pytest.raises(NotConfigured) as caught:
        read(folder, "[profiles.a]\n[profiles.b]\n")
    assert code_of(caught) == "config.choose_profile"


@pytest.mark.parametrize(
    ("toml", "code", "field"),
    [
        ('databse.url = "x"', "config.unknown_key_near", "databse.url"),
        ("zzz = 1", "config.unknown_key", "zzz"),
        ("gateways.stripe = 1", "config.unknown_key", "gateways.stripe"),
        ('receiver.port = "http"', "config.bad_value", "receiver.port"),
        ("receiver.port = 70000", "config.bad_value", "receiver.port"),
        ("receiver.port = true", "config.bad_value", "receiver.port"),
        ("database.pool_size = 0", "config.bad_value", "database.pool_size"),
        ('live = "perhaps"', "config.bad_value", "live"),
        ('timezone = "Mars/Olympus"', "config.bad_value", "timezone"),
        ('book = "Bad-Name"', "config.bad_value", "book"),
        ('log.level = "loud"', "config.bad_value", "log.level"),
        ("confirm_above.euro = 5", "config.bad_value", "confirm_above.euro"),
        ('database.password = "hunter2hunter2"', "config.secret_in_clear", "database.password"),
        ('database.url = "postgresql://u:pw@h/d"', "config.secret_in_clear", "database.url"),
        (
            'gateways.s.secret_key = "sk_live_abcdef"',
            "config.secret_in_clear",
            "gateways.s.secret_key",
        ),
        (
            'gateways.s.webhook_secrets = ["env:A", "whsec_x"]',
            "config.secret_in_clear",
            "gateways.s.webhook_secrets",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(folder: Path, toml: str, code: str, field: str) -> None:
    with pytest.raises(PayctlError) as caught:
        read(folder, f"[profiles.default]\n{toml}\n")
    assert (code_of(caught), caught.value.field) == (code, field)
    assert not re.search("hunter2|sk_live_abc|whsec_x|u:pw", str(caught.value.params))


def test_loose_loading_collects_every_problem(folder: Path) -> None:
    toml = '[profiles.default]\nzzz = 1\nreceiver.port = 0\ncountry = "SN"\n[qqqqq]\n'
    config = read(folder, toml, strict=False, environ={"PAYCTL_BOK": "x"})
    assert sorted(problem.code for problem in config.problems) == [
        "config.bad_value", "config.unknown_key", "config.unknown_key", "config.unknown_variable",
    ]  # fmt: skip
    assert config.country == "SN"


@pytest.mark.parametrize(
    ("variable", "value"), [("PORT", "abc"), ("DB_PORT", "x"), ("RATE_LIMIT_WINDOW_MS", "0")]
)
def test_a_former_variable_is_checked_like_any_value(
    folder: Path, variable: str, value: str
) -> None:
    with pytest.raises(PayctlError) as caught:
        read(folder, environ={variable: value, "DB_HOST": "h"})
    assert code_of(caught) == "config.bad_value"


def test_variables_of_the_test_suite_are_not_ours(folder: Path) -> None:
    assert not read(folder, environ={"PAYCTL_TEST_DATABASE_URL": "x"}).problems
    with pytest.raises(NotConfigured) as caught:
        read(folder, environ={"PAYCTL_DATABSE_URL": "x"})
    assert caught.value.params["near"] == "PAYCTL_DATABASE_URL"


def test_syntax_errors_name_the_file_and_the_place(folder: Path) -> None:
    with pytest.raises(NotConfigured) as caught:
        read(folder, "[profiles.default\n")
    assert code_of(caught) == "config.syntax"
    assert "line 1" in str(caught.value.params["detail"])


# -- the former service's variables ---------------------------------------------------------------

FORMER = {
    "DB_HOST": "db.example.com",
    "DB_PORT": "6432",
    "DB_NAME": "tickets",
    "DB_USER": "app",
    "DB_PASSWORD": "p@ss/w:rd",
    "STRIPE_SECRET_KEY": "sk_test_former123",
    "STRIPE_WEBHOOK_SECRET": "whsec_former123",
    "PAYPAL_CLIENT_ID": "client-id",
    "PAYPAL_CLIENT_SECRET": "client-secret-1",
    "PAYPAL_MODE": "sandbox",
    "CINETPAY_API_KEY": "cp-api-key",
    "CINETPAY_SECRET_KEY": "cp-secret-key",
    "CINETPAY_SITE_ID": "12345",
    "LOG_LEVEL": "warn",
    "PORT": "3004",
    "CORS_ORIGIN": "https://example.com",
    "RATE_LIMIT_WINDOW_MS": "60000",
    "RATE_LIMIT_MAX_REQUESTS": "10",
    "ENABLE_METRICS": "false",
    "METRICS_PORT": "9999",
    "NODE_ENV": "production",
    "JWT_SECRET": "ignored-secret",
}


def test_every_former_variable_is_honoured(folder: Path) -> None:
    config = read(folder, environ=FORMER)
    assert config.database_url == (
        "postgresql+psycopg://app:p%40ss%2Fw%3Ard@db.example.com:6432/tickets"
    )
    assert config.place == "db.example.com:6432/tickets"
    assert config.gateways["stripe"].secret("secret_key") == "sk_test_former123"
    assert config.gateways["stripe"].secrets("webhook_secrets") == ("whsec_former123",)
    assert config.gateways["paypal"].secret("client_secret") == "client-secret-1"
    assert config.gateways["paypal"].settings["mode"] == "sandbox"
    assert config.gateways["cinetpay"].secret("site_id") == "12345"
    assert all(section.former for section in config.gateways.values())
    found = [config.get(setting.key) for setting in SETTINGS if setting.former]
    assert found[1:] == ["warning", 3004, "https://example.com", 60000, 10, False]
    assert sorted(note.split()[0] for note in config.notes) == [
        "JWT_SECRET",
        "METRICS_PORT",
        "NODE_ENV",
    ]
    assert not config.live


def test_a_file_outranks_the_former_variables(folder: Path) -> None:
    toml = """
        [profiles.default]
        database.url = "postgresql://other@h/d"
        receiver.port = 1
        gateways.cards.type = "stripe"
        gateways.cards.secret_key = "env:MY_KEY"
    """
    config = read(folder, toml, environ={**FORMER, "MY_KEY": "sk_test_mine"})
    assert config.database_url == "postgresql://other@h/d", "nor does DB_PASSWORD leak into it"
    assert config.get("receiver.port") == 1
    assert "stripe" not in config.gateways
    assert "paypal" in config.gateways


def test_an_outranked_former_variable_is_not_even_checked(folder: Path) -> None:
    config = read(folder, "[profiles.default]\nreceiver.port = 1\n", environ={"PORT": "abc"})
    assert config.get("receiver.port") == 1


# -- secrets --------------------------------------------------------------------------------------


def test_environment_variables_may_hold_secrets_and_settings_of_gateways(folder: Path) -> None:
    environ = {
        "PAYCTL_GATEWAYS__CARDS__TYPE": "sandbox",
        "PAYCTL_GATEWAYS__CARDS__FEE_PPM": "15000",
        "PAYCTL_GATEWAYS__CARDS__METHODS": '["card"]',
        "PAYCTL_GATEWAYS__CARDS__SECRET_KEY": "sk_test_direct",
        "PAYCTL_OPERATOR_TOKEN": "token-of-mine",
        "PAYCTL_CONFIRM_ABOVE__EUR": "700",
    }
    config = read(folder, environ=environ)
    section = config.gateways["cards"]
    assert (section.type, section.settings["fee_ppm"]) == ("sandbox", 15000)
    assert section.settings["methods"] == ["card"]
    assert section.settings["secret_key"].startswith("env:"), "a reference, not the value"
    assert section.secret("secret_key") == "sk_test_direct"
    assert config.operator_token == "token-of-mine"
    assert (config.confirm_above("EUR"), config.confirm_above("XYZ")) == (700, 50_000)


def test_what_is_shown_never_holds_a_secret(folder: Path) -> None:
    secret_file = folder / "token"
    secret_file.write_text("operator-token-value\n")
    secret_file.chmod(0o600)
    key_file = folder / "key"
    key_file.write_text("sk_test_fromcommand")
    toml = f"""
        [profiles.default]
        operator = "file:{secret_file}"
        database.url = "env:DATABASE_URL"
        gateways.g.type = "stripe"
        gateways.g.secret_key = "cmd:cat {key_file}"
        gateways.g.webhook_secrets = ["env:STRIPE_WEBHOOK_SECRET"]
    """
    url = "postgresql://u:dbpassword1@h/d"
    config = read(folder, toml, environ={**FORMER, "DATABASE_URL": url})
    shown = "\n".join(f"{line.key} {line.value} {line.origin}" for line in config.shown())
    secrets = [
        "operator-token-value", "dbpassword1", "sk_test_fromcommand",
        *(FORMER[name] for name in FORMER if re.search("PASSWORD|SECRET|API_KEY", name)),
    ]  # fmt: skip
    assert not [value for value in secrets if value in shown]
    assert "fingerprint" in shown
    assert not config.live, "the program has run and its answer is known"
    assert not [value for value in secrets if value in repr(config)]
    assert config.database_url == url
    assert conceal(f"could not connect with {url}") == "could not connect with ***"


def test_a_url_from_the_environment_is_shown_without_its_password(folder: Path) -> None:
    config = read(folder, environ={"PAYCTL_DATABASE_URL": "postgresql://u:dbpassword2@h/d"})
    shown = {line.key: line.value for line in config.shown()}
    assert shown["database.url"] == "postgresql://u:***@h/d"
    assert config.place == "h/d"


def test_a_program_runs_only_from_a_file_nobody_else_can_write(folder: Path) -> None:
    toml = '[profiles.default]\noperator = "cmd:echo token-1"\n'
    assert read(folder, toml).operator_token == "token-1"
    (folder / "payctl.toml").chmod(0o666)
    with pytest.raises(NotConfigured) as caught:
        read(folder)
    assert code_of(caught) == "config.unsafe_file"


def test_a_missing_secret_setting_is_named(folder: Path) -> None:
    with pytest.raises(NotConfigured) as caught:
        read(folder).gateways["sandbox"].secret("secret_key")
    assert (code_of(caught), caught.value.field) == (
        "config.secret_unset",
        "gateways.sandbox.secret_key",
    )


# -- live and test --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "keys", "expected"),
    [
        (None, [], False),
        (None, ["sk_test_1"], False),
        (None, ["sk_live_1"], True),
        (None, ["rk_live_1"], True),
        (True, ["sk_live_1"], True),
        (False, ["sk_test_1"], False),
        (True, [], True),
        (True, ["sk_test_1"], "config.test_key_in_live"),
        (False, ["sk_live_1"], "config.live_key_in_test"),
        (None, ["sk_live_1", "sk_test_1"], "config.mixed_keys"),
    ],
)
def test_profile_and_keys_must_agree(
    folder: Path, declared: bool | None, keys: list[str], expected: bool | str
) -> None:
    lines = ["[profiles.default]"]
    if declared is not None:
        lines.append(f"live = {str(declared).lower()}")
    environ = {}
    for number, key in enumerate(keys):
        lines.append(f'gateways.g{number}.secret_key = "env:KEY{number}"')
        environ[f"KEY{number}"] = key
    config = read(folder, "\n".join(lines), environ=environ)
    if isinstance(expected, bool):
        assert config.live is expected
        return
    with pytest.raises(NotConfigured) as caught:
        _ = config.live
    assert code_of(caught) == expected


def test_a_live_profile_gets_no_sandbox_by_default(folder: Path) -> None:
    assert read(folder, "[profiles.default]\nlive = true\n").gateways == {}


# -- setting a value ------------------------------------------------------------------------------

TOML = """\
# who pays whom
default_profile = "default"   # keep

[profiles.default]
timezone = "Africa/Abidjan"  # cuts days
book = "ci"

[profiles.default.log]
level = "info"

[profiles.live.gateways.stripe]
type = "stripe"
"""


@pytest.mark.parametrize(
    ("profile", "key", "value", "gained"),
    [
        ("default", "timezone", "Africa/Dakar", 'timezone = "Africa/Dakar"  # cuts days'),
        ("default", "country", "SN", 'country = "SN"'),
        ("default", "log.level", "debug", 'level = "debug"'),
        ("default", "database.pool_size", "7", "database.pool_size = 7"),
        ("live", "live", "true", "live = true"),
        ("live", "gateways.stripe.secret_key", "env:SK", 'secret_key = "env:SK"'),
        ("live", "gateways.pay-2.type", "sandbox", "[profiles.live.gateways.pay-2]"),
        ("new", "book", "sn", "[profiles.new]"),
    ],
)
def test_one_value_changes_and_every_comment_stays(
    profile: str, key: str, value: str, gained: str
) -> None:
    after = config_file.with_value(TOML, profile, key, value, Path("payctl.toml"))
    assert gained in after.splitlines()
    lost = [line for line in TOML.splitlines() if line not in after.splitlines()]
    assert len(lost) <= 1
    assert after.count("#") == TOML.count("#")


@pytest.mark.parametrize(
    ("text", "key", "value", "code"),
    [
        (TOML, "zzz", "1", "config.unknown_key"),
        (TOML, "gateways.stripe.secret_key", "sk_live_1234", "config.secret_in_clear"),
        (TOML, "database.url", "postgresql://u:p@h/d", "config.secret_in_clear"),
        (TOML, "receiver.port", "x", "config.bad_value"),
        ("[broken", "book", "x", "config.syntax"),
        ("profiles = {default = {book = 'a'}}\n", "book", "b", "config.not_editable"),
        ('[profiles.default]\nbook = """\na"""\n', "book", "b", "config.not_editable"),
    ],
)
def test_what_cannot_be_set_safely_is_refused(text: str, key: str, value: str, code: str) -> None:
    with pytest.raises(PayctlError) as caught:
        config_file.with_value(text, "default", key, value, Path("payctl.toml"))
    assert code_of(caught) == code


def test_a_new_file_is_the_owners_alone_and_an_old_one_keeps_its_mode(folder: Path) -> None:
    path = folder / "deep" / "payctl.toml"
    config_file.write(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    config_file.write(path, "b")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("b", 0o640)
    assert list(path.parent.iterdir()) == [path]


def test_anchors_lie_beside_an_embedded_book_or_in_the_data_directory(folder: Path) -> None:
    assert read(folder).anchors == [f"path:{folder}/home/.local/share/payctl/book.anchors"]
    here = '[profiles.default]\ndatabase.url = "sqlite:////srv/payctl/ci.sqlite3"\n'
    assert read(folder, here).anchors == ["path:/srv/payctl/ci.anchors"]
    there = '[profiles.ci]\ndatabase.url = "postgresql://u@h/d"\n'
    config = read(folder, there, profile="ci")
    assert config.anchors == [f"path:{folder}/home/.local/share/payctl/book-ci.anchors"]


def test_anchors_are_named_in_a_list_or_alone(folder: Path) -> None:
    toml = '[profiles.default]\nledger.anchors = ["path:/a", "git:/b", "cmd:send --to x"]\n'
    config = read(folder, toml)
    assert config.anchors == ["path:/a", "git:/b", "cmd:send --to x"]
    [shown] = [line for line in config.shown() if line.key == "ledger.anchors"]
    assert shown.value == "path:/a, git:/b, cmd:send …"
    assert read(folder, environ={"PAYCTL_LEDGER_ANCHORS": "path:/a"}).anchors == ["path:/a"]
    several = {"PAYCTL_LEDGER_ANCHORS": '["path:/a", "path:/b"]'}
    assert read(folder, environ=several).anchors == ["path:/a", "path:/b"]
    assert read(folder, "[profiles.default]\nledger.anchors = []\n").anchors == []


@pytest.mark.parametrize(
    "value", ['"s3:/a"', '"path:a"', '["path:/a", 5]', "7", '"cmd:"', '"cmd:\'"', '""']
)
def test_a_bad_anchor_is_named(folder: Path, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(folder, f"[profiles.default]\nledger.anchors = {value}\n")
    assert (code_of(caught), caught.value.field) == ("config.bad_value", "ledger.anchors")


def test_a_program_for_anchors_is_not_run_by_a_file_anybody_can_write(folder: Path) -> None:
    file = folder / "open.toml"
    file.write_text('[profiles.default]\nledger.anchors = ["cmd:send"]\n')
    file.chmod(0o666)
    with pytest.raises(NotConfigured) as caught:
        read(folder, path=file)
    assert code_of(caught) == "config.unsafe_file"
