"""Settings of the service, from LUMBAR_* environment variables; read by cli and service alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import BadSettings

PREFIX: Final = "LUMBAR_"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """One JSON object a line for machines, or coloured lines for people."""

    JSON = "json"
    CONSOLE = "console"


def _starts_with(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(schemes):
            raise ValueError(f"must start with {' or '.join(schemes)}")
        return url.rstrip("/")

    return AfterValidator(check)


def _without_credentials(url: str) -> str:
    # The address stands in messages and logs.
    if "@" in url:
        raise ValueError("must hold no user and password: they have variables of their own")
    return url


class Settings(BaseSettings):
    """Everything that an installation can change; each field is LUMBAR_<FIELD> in capitals.

    The defaults are those of Redis and Orthanc on the same machine.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    redis_url: Annotated[str, _starts_with("redis://", "rediss://")] = Field(
        default="redis://127.0.0.1:6379/0", description="The Redis that carries the queue."
    )
    queue: str = Field(
        default="lumbar",
        pattern=r"^[\w.-]+$",
        description="Name of the queue; the plugin's must be equal.",
    )
    orthanc_url: Annotated[
        str, _starts_with("http://", "https://"), AfterValidator(_without_credentials)
    ] = Field(default="http://127.0.0.1:8042", description="Root of Orthanc's REST API.")
    orthanc_username: str | None = Field(
        default=None, description="A user of Orthanc, if it asks for one."
    )
    orthanc_password: SecretStr | None = Field(default=None, description="That user's password.")
    orthanc_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds to wait for one answer of Orthanc."
    )
    bundle: str | None = Field(
        default=None,
        description="Folder of the model bundle; the packaged one where not set.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where to compute: auto, cpu, cuda or cuda:N.",
    )
    concurrency: int = Field(
        default=1, ge=1, le=64, description="Worker processes; one for each device."
    )
    time_limit_s: int = Field(
        default=900,
        ge=30,
        description="A study that takes longer is given up and its process replaced.",
    )
    max_retries: int = Field(
        default=20, ge=0, description="How often a study is tried again while the archive is away."
    )
    max_deliveries: int = Field(
        default=3, ge=1, description="How often a study may kill its process before it is given up."
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    log_format: LogFormat = Field(default=LogFormat.JSON, description="json or console.")

    @classmethod
    def load(cls) -> Self:
        """The settings of this process; raise BadSettings that names the variable to change."""
        try:
            return cls()
        except ValidationError as error:
            # `input` is left out: it may be a password.
            lines = [
                f"{PREFIX}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
            raise BadSettings("change " + "; ".join(lines)) from None
