"""Settings of the service, from LUMBAR_* environment variables; only cli and service read them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker import MIN_AGE_YEARS
from worker.errors import BadSettings

PREFIX: Final = "LUMBAR_"
_REQUIRES: Final = {
    "dicomweb_password": "dicomweb_username",
    "dicomweb_client_key": "dicomweb_client_certificate",
}


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """One JSON object per line for machines, or coloured lines for people."""

    JSON = "json"
    CONSOLE = "console"


class ArchiveKind(StrEnum):
    """The interface of the archive."""

    ORTHANC = "orthanc"
    DICOMWEB = "dicomweb"


class Incomplete(StrEnum):
    """What to do with a study in which one of the three roles has no series."""

    GRADE = "grade"
    WAIT = "wait"
    REJECT = "reject"


def _starts_with(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(schemes):
            raise ValueError(f"must start with {' or '.join(schemes)}")
        return url.rstrip("/")

    return AfterValidator(check)


def _without_credentials(url: str) -> str:
    # The URL appears in messages and logs.
    if "@" in url:
        raise ValueError("must not contain user and password: set them in their own variables")
    return url


_Url = Annotated[str, _starts_with("http://", "https://"), AfterValidator(_without_credentials)]


class Settings(BaseSettings):
    """The configuration of an installation; each field is the variable LUMBAR_<FIELD>.

    The defaults suit Redis and Orthanc on the same machine.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    redis_url: Annotated[str, _starts_with("redis://", "rediss://")] = Field(
        default="redis://127.0.0.1:6379/0", description="URL of the Redis server of the queue."
    )
    queue: str = Field(
        default="lumbar",
        pattern=r"^[\w.-]+$",
        description="Name of the queue; Orthanc's plugin must use the same.",
    )
    archive: ArchiveKind = Field(
        default=ArchiveKind.ORTHANC,
        description=(
            "orthanc (its REST API) or dicomweb (any DICOMweb server). Messages of Orthanc's "
            "plugin contain Orthanc's ids of studies; with dicomweb, messages must contain Study "
            "Instance UIDs."
        ),
    )
    orthanc_url: _Url = Field(
        default="http://127.0.0.1:8042", description="Root of Orthanc's REST API."
    )
    orthanc_username: str | None = Field(
        default=None, description="User name for Orthanc, if it requires one."
    )
    orthanc_password: SecretStr | None = Field(default=None, description="Password of that user.")
    orthanc_timeout_s: float = Field(
        default=30.0, gt=0, description="Timeout of one request to Orthanc in seconds."
    )
    dicomweb_username: str | None = Field(
        default=None, description="User name for the DICOMweb server, if it requires one."
    )
    dicomweb_password: SecretStr | None = Field(default=None, description="Password of that user.")
    dicomweb_token: SecretStr | None = Field(
        default=None, description="Bearer token, if the server requires one."
    )
    dicomweb_token_file: FilePath | None = Field(
        default=None, description="File with the bearer token; read for every request."
    )
    dicomweb_ca_file: FilePath | None = Field(
        default=None,
        description="CA certificates (PEM) for the server's certificate; public CAs if not set.",
    )
    dicomweb_client_certificate: FilePath | None = Field(
        default=None, description="Client certificate (PEM), if the server requires one."
    )
    dicomweb_client_key: FilePath | None = Field(
        default=None,
        description="Key of the client certificate (PEM, no passphrase), if in a separate file.",
    )
    dicomweb_timeout_s: float = Field(
        default=30.0, gt=0, description="Timeout of one request to the DICOMweb server in seconds."
    )
    dicomweb_url: _Url | None = Field(
        default=None,
        validate_default=True,
        description="Base URL of the DICOMweb server: that of its `studies`.",
    )
    bundle: str | None = Field(
        default=None,
        description="Folder of the model bundle; the packaged one if not set.",
    )
    site_rules: str | None = Field(
        default=None, description="TOML file with the routing rules of the site."
    )
    min_age: int = Field(
        default=MIN_AGE_YEARS,
        ge=0,
        le=120,
        description="Patients under this age are not graded, in years; 0 grades every age.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Compute device: auto, cpu, cuda or cuda:N.",
    )
    concurrency: int = Field(
        default=1, ge=1, le=64, description="Grading processes; they are assigned to GPUs in turn."
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads of each grading process; 0 shares the usable cores among the "
        "processes (or leaves OMP_NUM_THREADS where that is set).",
    )
    time_limit_s: int = Field(
        default=900,
        ge=30,
        description="Time limit of one study in seconds; a study that exceeds it becomes a dead "
        "letter, and its process is replaced.",
    )
    stop_s: float = Field(
        default=60.0,
        ge=0,
        description="After SIGTERM the worker finishes the running study; after this many seconds "
        "the study returns to the queue.",
    )
    max_retries: int = Field(
        default=20,
        ge=0,
        description="Retries of a study after a transient error. While the archive is down for "
        "all studies, they wait without limit.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="Attempts in which a study kills its process before it becomes a dead letter.",
    )
    incomplete: Incomplete = Field(
        default=Incomplete.GRADE,
        description="A study without a sagittal T1, sagittal T2 or axial T2 series: `grade` it at "
        "once (a series that arrives later leads to a revised report), `wait` for missing series "
        "and then grade it, or wait and then `reject` it.",
    )
    incomplete_wait_s: int = Field(
        default=600,
        ge=1,
        description="Seconds to wait for missing series, from the arrival of the last one.",
    )
    reconcile_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds between two searches of the archive for studies that no message "
        "announced; a study that changed within this time is left for the next search.",
    )
    reconcile_days: float = Field(
        default=7.0,
        ge=0,
        description="Only studies that changed within so many days are searched for, and those "
        "that wait for missing series; `lumbar reconcile` finds older ones.",
    )
    forward: str | None = Field(
        default=None,
        pattern=r"^(modality|dicomweb):.+$",
        description="Where Orthanc forwards each report: modality:NAME (C-STORE) or dicomweb:NAME "
        "(STOW-RS), with a name from Orthanc's configuration.",
    )
    health_host: str = Field(
        default="127.0.0.1",
        description="Address of /live, /ready and /metrics (HTTP, without password or TLS).",
    )
    health_port: int = Field(
        default=8043,
        ge=0,
        le=65535,
        description="Their port, a different one for each worker of a machine; 0 for none.",
    )
    stalled_s: float | None = Field(
        default=None,
        gt=0,
        description="The worker is not ready if studies wait and none has ended for so many "
        "seconds; LUMBAR_TIME_LIMIT_S + 120 if not set.",
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    log_format: LogFormat = Field(default=LogFormat.JSON, description="json or console.")

    @field_validator("dicomweb_url")
    @classmethod
    def _requires_url(cls, url: str | None, others: ValidationInfo) -> str | None:
        if url is None and others.data.get("archive") is ArchiveKind.DICOMWEB:
            raise ValueError(f"must be set if {PREFIX}ARCHIVE is dicomweb")
        return url

    @field_validator("forward")
    @classmethod
    def _requires_orthanc(cls, destination: str | None, others: ValidationInfo) -> str | None:
        if destination and others.data.get("archive") is ArchiveKind.DICOMWEB:
            raise ValueError(f"requires Orthanc, but {PREFIX}ARCHIVE is dicomweb")
        return destination

    @field_validator("dicomweb_token", "dicomweb_token_file")
    @classmethod
    def _excludes_others(cls, token: object, others: ValidationInfo) -> object:
        for other in ("dicomweb_username", "dicomweb_token"):
            if other != others.field_name and token and others.data.get(other):
                raise ValueError(f"cannot be combined with {PREFIX}{other.upper()}")
        return token

    @field_validator("dicomweb_password", "dicomweb_client_key")
    @classmethod
    def _requires_other(cls, value: object, others: ValidationInfo) -> object:
        other = _REQUIRES[str(others.field_name)]
        if value and not others.data.get(other):
            raise ValueError(f"requires {PREFIX}{other.upper()}")
        return value

    @property
    def stall_timeout_s(self) -> float:
        """How long studies may wait without one ending before the worker counts as stalled."""
        return self.stalled_s or self.time_limit_s + 120.0

    @classmethod
    def load(cls) -> Self:
        """The settings of this process; raise BadSettings, which names the variable to change."""
        try:
            return cls()
        except ValidationError as error:
            # Without the input: it may be a password.
            lines = [
                f"{PREFIX}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
            raise BadSettings("change " + "; ".join(lines)) from None
