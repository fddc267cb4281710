"""References to secrets: resolved late, checked, and kept out of every text."""

from __future__ import annotations

from pathlib import Path

import pytest

from payctl import secret
from payctl.errors import NotConfigured

pytestmark = pytest.mark.unit


def failing(reference: str, **environ: str) -> NotConfigured:
    with pytest.raises(NotConfigured) as caught:
        secret.resolve(reference, environ=environ)
    return caught.value


def test_each_scheme_gives_its_value_stripped(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert secret.resolve("env:K", environ={"K": "from-env"}) == "from-env"
    assert secret.resolve(f"file:{file}", environ={}) == "from-file"
    assert secret.resolve("file:key", environ={}, base=tmp_path) == "from-file"
    assert secret.resolve("cmd:printf 'a b'", environ={}) == "a b"


def test_a_program_is_not_run_by_a_shell(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert secret.resolve(f"cmd:echo x; touch {mark}", environ={}).startswith("x;")
    assert not mark.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text("x-secret")
    file.chmod(mode)
    error = failing(f"file:{file}")
    assert (error.code, error.params["mode"]) == ("secret.file_open", f"{mode:04o}")


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("env:NOT_THERE", "secret.env_missing"),
        ("file:/nonexistent/key", "secret.file_missing"),
        ("cmd:/nonexistent/program", "secret.command_failed"),
        ("cmd:false", "secret.command_failed"),
        ("cmd:echo 'unclosed", "secret.command_failed"),
        ("cmd:true", "secret.empty"),
        ("plain", "secret.not_a_reference"),
        ("env:", "secret.not_a_reference"),
        ("http://x", "secret.not_a_reference"),
    ],
)
def test_what_gives_no_secret_is_an_error_that_holds_none(reference: str, code: str) -> None:
    assert failing(reference).code == code


def test_what_a_failing_program_printed_is_not_repeated() -> None:
    error = failing("cmd:sh -c 'echo half-a-secret; exit 3'")
    assert "half-a-secret" not in f"{error} {error.params}"
    assert "3" in str(error.params["detail"])


def test_a_resolved_value_is_taken_out_of_texts() -> None:
    secret.resolve("env:K", environ={"K": "quite-secret-value"})
    assert secret.conceal("a quite-secret-value b") == "a *** b"
    assert secret.fingerprint("a") != secret.fingerprint("b")


@pytest.mark.parametrize("turn", [1, -1])
def test_a_secret_inside_another_is_concealed_with_it(
    turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://u:inner-password@h/d"
    known = dict.fromkeys(["inner-password", url][::turn])  # unlike a set, it keeps its order
    monkeypatch.setattr(secret, "_known", known)
    assert secret.conceal(f"no {url}, nor inner-password") == "no ***, nor ***"
