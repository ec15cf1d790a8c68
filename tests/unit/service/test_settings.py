"""Settings, and the errors of wrong ones."""

import pytest
from pydantic import ValidationError

from worker.errors import BadSettings
from worker.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No LUMBAR_* variable of the machine that runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def test_defaults_need_no_variable():
    """Redis and Orthanc on this machine work without any setting."""
    assert Settings.load().queue == "lumbar"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_url", "localhost"),
        ("queue", "two words"),
        ("orthanc_url", "orthanc:8042"),
        ("orthanc_timeout_s", "0"),
        ("archive", "pacs"),
        ("dicomweb_url", "pacs/rs"),
        ("dicomweb_url", "https://user:secret@pacs/rs"),
        ("dicomweb_timeout_s", "-1"),
        ("dicomweb_password", "secret"),
        ("dicomweb_token_file", "/none"),
        ("dicomweb_ca_file", "/none"),
        ("dicomweb_client_certificate", "/none"),
        ("dicomweb_client_key", "/none"),
        ("device", "gpu"),
        ("concurrency", "many"),
        ("time_limit_s", "-1"),
        ("max_retries", "-1"),
        ("max_attempts", "0"),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_a_wrong_value_names_its_variable(name, value, monkeypatch):
    """Each variable that cannot work is named in the one error that is raised."""
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(BadSettings, match=f"{PREFIX}{name.upper()}"):
        Settings.load()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"archive": "dicomweb"}, "LUMBAR_DICOMWEB_URL: .*LUMBAR_ARCHIVE"),
        (
            {"dicomweb_username": "me", "dicomweb_token": "secret"},
            "LUMBAR_DICOMWEB_TOKEN: .*LUMBAR_DICOMWEB_USERNAME",
        ),
        (
            {"dicomweb_token": "secret", "dicomweb_token_file": __file__},
            "LUMBAR_DICOMWEB_TOKEN_FILE: .*LUMBAR_DICOMWEB_TOKEN",
        ),
        (
            {"dicomweb_client_key": __file__},
            "LUMBAR_DICOMWEB_CLIENT_KEY: .*LUMBAR_DICOMWEB_CLIENT_CERTIFICATE",
        ),
    ],
)
def test_variables_that_do_not_go_together_are_both_named(variables, named, monkeypatch):
    """The error names both variables, and no value."""
    for name, value in variables.items():
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(BadSettings, match=named) as raised:
        Settings.load()
    assert "secret" not in str(raised.value)


def test_an_error_never_quotes_a_value(monkeypatch):
    """The password in a wrong Redis address does not reach the log."""
    monkeypatch.setenv("LUMBAR_REDIS_URL", "http://:secret@redis")
    with pytest.raises(BadSettings) as raised:
        Settings.load()
    assert "secret" not in str(raised.value)


def test_settings_are_frozen_and_hide_the_password(monkeypatch):
    """Nothing changes a setting after start, and printing them shows no password."""
    monkeypatch.setenv("LUMBAR_ORTHANC_PASSWORD", "secret")
    settings = Settings.load()
    assert "secret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.queue = "other"
