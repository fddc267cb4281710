"""``payctl config`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import Result, run
from tests.cli.schemas import check

pytestmark = pytest.mark.unit

GOOD = """
[profiles.default]
book = "ci"
receiver.port = 3004
[profiles.live]
live = true
database.url = "postgresql://app@db.example.com/tickets"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "payctl.toml"
    path.write_text(GOOD)
    return path


def config(file: Path, *words: str, **environ: str) -> Result:
    environ = {"HOME": str(file.parent / "home"), **environ}
    return run("config", *words, "--config", str(file), environ=environ)


def test_show_tells_value_and_origin(file: Path) -> None:
    document = check(config(file, "show", "--json", PAYCTL_COUNTRY="SN").json)
    by_key = {item["key"]: item for item in document["items"]}
    assert by_key["book"] == {"key": "book", "value": "ci", "origin": f"file {file}"}
    assert by_key["country"]["origin"] == "environment PAYCTL_COUNTRY"
    assert by_key["timezone"]["origin"] == "default"
    assert document["profile"] == "default"


def test_show_never_prints_a_secret(file: Path) -> None:
    environ = {"STRIPE_SECRET_KEY": "sk_test_abcdefgh", "DB_PASSWORD": "dbpassw0rd"}
    for words in (["show"], ["show", "--origin", "-o", "table"], ["show", "--json"], ["validate"]):
        shown = config(file, *words, **environ, DB_HOST="h")
        assert shown.code == 0, shown.err
        assert "sk_test_abc" not in shown.out + shown.err
        assert "dbpassw0rd" not in shown.out + shown.err
    assert "env:STRIPE_SECRET_KEY (fingerprint" in config(file, "show", **environ).out


def test_ignored_variables_are_noted(file: Path) -> None:
    shown = config(file, "validate", NODE_ENV="production", JWT_SECRET="x")
    assert "NODE_ENV is ignored" in shown.err and "JWT_SECRET is ignored" in shown.err


def test_path_tells_which_files_are_read(file: Path) -> None:
    items = check(config(file, "path", "--json").json)["items"]
    assert items == [{"path": str(file), "state": "read"}]
    assert len(check(run("config", "path", "--json").json)["items"]) == 3


def test_profiles_are_listed_with_their_place(file: Path) -> None:
    items = check(config(file, "profiles", "--json").json)["items"]
    assert [(item["profile"], item["live"]) for item in items] == [
        ("default", None),
        ("live", True),
    ]
    assert items[1]["database"] == "db.example.com/tickets"
    assert config(file, "profiles", "-q").out.split() == ["default", "live"]


def test_validate_is_quiet_when_all_is_well(file: Path) -> None:
    shown = config(file, "validate")
    assert (shown.code, shown.out) == (0, "")


def test_validate_lists_every_problem_and_exits_4(file: Path) -> None:
    file.write_text(
        "[profiles.default]\ndatabse.url = 1\nreceiver.port = 0\noperator = 'env:NOT_THERE'\n"
        "gateways.g.type = 'nonesuch'\n"
    )
    shown = config(file, "validate", "--json", PORT="1")
    document = check(shown.json)
    assert shown.code == 4
    assert {item["code"] for item in document["items"]} == {
        "config.unknown_key_near", "config.bad_value", "secret.env_missing",
        "gateway.not_installed",
    }  # fmt: skip
    assert "database.url" in str(document)
    assert shown.error["code"] == "config.invalid"


def test_validate_finds_keys_that_contradict_the_profile(file: Path) -> None:
    file.write_text("[profiles.default]\nlive = true\n")
    shown = config(file, "validate", "--json", STRIPE_SECRET_KEY="sk_test_abcdefgh")
    assert "config.test_key_in_live" in {item["code"] for item in shown.json["items"]}


def test_set_changes_the_file_and_says_where(file: Path) -> None:
    shown = config(file, "set", "log.level", "debug", "--json")
    assert check(shown.json)["path"] == str(file)
    assert {item["key"]: item["value"] for item in config(file, "show", "--json").json["items"]}[
        "log.level"
    ] == "debug"


def test_a_dry_run_shows_the_file_and_changes_nothing(file: Path) -> None:
    shown = config(file, "set", "log.level", "debug", "--dry-run")
    assert 'log.level = "debug"' in shown.out
    assert file.read_text() == GOOD


def test_a_live_profile_is_set_only_when_confirmed(file: Path) -> None:
    refused = config(file, "set", "book", "sn", "--profile", "live")
    assert refused.code == 2 and "LIVE" in refused.err
    assert file.read_text() == GOOD
    assert config(file, "set", "book", "sn", "--profile", "live", "--yes").code == 0
    assert 'book = "sn"' in file.read_text()


def test_a_broken_profile_can_be_mended_by_set(file: Path) -> None:
    file.write_text("[profiles.default]\nreceiver.port = 0\n")
    assert config(file, "show").code == 2
    assert config(file, "set", "receiver.port", "3004").code == 0
    assert config(file, "show").code == 0


def test_a_first_set_makes_the_users_file(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert run("config", "set", "country", "SN", environ=home).code == 0
    assert 'country = "SN"' in (tmp_path / ".config/payctl/payctl.toml").read_text()
