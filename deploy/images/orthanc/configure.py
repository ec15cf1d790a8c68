"""Writes the users of this installation into Orthanc's configuration.

    configure.py TEMPLATE CONFIGURATION

TEMPLATE is orthanc/orthanc.json; LUMBAR_USERNAME and LUMBAR_PASSWORD are for people,
LUMBAR_ORTHANC_USERNAME and LUMBAR_ORTHANC_PASSWORD for the worker. The template is changed, not
complemented by a second file, because Orthanc refuses an option that is in two files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ACCOUNTS = (
    ("LUMBAR_USERNAME", "LUMBAR_PASSWORD"),
    ("LUMBAR_ORTHANC_USERNAME", "LUMBAR_ORTHANC_PASSWORD"),
)


class ConfigurationError(Exception):
    """Orthanc cannot be configured; the message says what to change."""


def main(template: str, configuration: str) -> int:
    """Write the configuration, readable only by its owner; return 2 if that fails."""
    try:
        text = filled(Path(template).read_text(encoding="utf-8"), users(os.environ))
    except ConfigurationError as error:
        print(f"lumbar: {error}", file=sys.stderr)
        return 2
    written = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(written, "w", encoding="utf-8") as file:
        os.fchmod(written, 0o600)
        file.write(text)
    return 0


def users(environment: Mapping[str, str]) -> dict[str, str]:
    """The password of every user; raise ConfigurationError, which names the wrong variable."""
    found: dict[str, str] = {}
    for name_variable, password_variable in ACCOUNTS:
        name, password = environment.get(name_variable), environment.get(password_variable)
        if not name or not password:
            raise ConfigurationError(f"set {name_variable} and {password_variable}")
        if ":" in name or name in found:
            raise ConfigurationError(f"{name_variable} must be unique and contain no colon")
        found[name] = password
    return found


def filled(template: str, found: Mapping[str, str]) -> str:
    """The template with these users, and with access from other containers.

    Raises ConfigurationError if the template does not contain each replaced line exactly once.
    """
    # Orthanc replaces ${NAME} by an environment variable everywhere, also in passwords.
    named = json.dumps(found).replace("$", r"\u0024")
    for old, new in (
        ('"RegisteredUsers": {}', f'"RegisteredUsers": {named}'),
        ('"RemoteAccessAllowed": false', '"RemoteAccessAllowed": true'),
    ):
        if template.count(old) != 1:
            raise ConfigurationError(f"the configuration must contain {old} exactly once")
        template = template.replace(old, new)
    return template


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
