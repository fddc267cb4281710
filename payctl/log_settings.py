"""Directs this process's log to where its profile says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from payctl import log
from payctl.config_layers import state_dir
from payctl.errors import PayctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from payctl.config import Config

#: Names the caller's correlation id.
CORRELATION_ID = "PAYCTL_CORRELATION_ID"


def open_log(
    config: Callable[[], Config], environ: Mapping[str, str], *, service: bool = False
) -> None:
    """Direct the log; where the profile cannot be read, to the usual file.

    Args:
        service: this process answers nobody on its standard output, so the log may go there.
    """
    path, level = state_dir(environ) / "payctl.log", "info"
    how: dict[str, Any] = {}
    try:
        get = config().get
        path, level = Path(get("log.file")), str(get("log.level"))
        how = {"to": get("log.to"), "syslog": get("log.syslog"), "keep_days": get("log.keep_days")}
    except PayctlError:
        pass  # whoever needs the profile tells what is wrong with it
    if how.get("to") == "stdout" and not service:
        how["to"] = "stderr"
    given = environ.get(CORRELATION_ID, "")
    if log.CORRELATION.fullmatch(given):
        how["correlation"] = given
    log.configure(path, level, **how)
