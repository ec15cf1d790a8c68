"""Settings of the service, from LUMBAR_* environment variables; read by cli and service alone."""

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
_BELONGS_TO: Final = {
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
    """One JSON object a line for machines, or coloured lines for people."""

    JSON = "json"
    CONSOLE = "console"


class ArchiveKind(StrEnum):
    """How the archive is spoken to."""

    ORTHANC = "orthanc"
    DICOMWEB = "dicomweb"


class Incomplete(StrEnum):
    """What becomes of a study in which no series has one of the three roles."""

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
    # The address stands in messages and logs.
    if "@" in url:
        raise ValueError("must hold no user and password: they have variables of their own")
    return url


_Url = Annotated[str, _starts_with("http://", "https://"), AfterValidator(_without_credentials)]


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
    archive: ArchiveKind = Field(
        default=ArchiveKind.ORTHANC,
        description=(
            "orthanc (its REST API) or dicomweb (any server). The messages of Orthanc's plugin "
            "name studies by Orthanc's ids; with dicomweb, whoever sends messages must name "
            "them by their Study Instance UIDs."
        ),
    )
    orthanc_url: _Url = Field(
        default="http://127.0.0.1:8042", description="Root of Orthanc's REST API."
    )
    orthanc_username: str | None = Field(
        default=None, description="A user of Orthanc, if it asks for one."
    )
    orthanc_password: SecretStr | None = Field(default=None, description="That user's password.")
    orthanc_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds to wait for one answer of Orthanc."
    )
    dicomweb_username: str | None = Field(
        default=None, description="A user of the DICOMweb server, if it asks for one."
    )
    dicomweb_password: SecretStr | None = Field(default=None, description="That user's password.")
    dicomweb_token: SecretStr | None = Field(
        default=None, description="A bearer token, where the server asks for one."
    )
    dicomweb_token_file: FilePath | None = Field(
        default=None, description="The same in a file, read anew for each request."
    )
    dicomweb_ca_file: FilePath | None = Field(
        default=None,
        description="Authorities (PEM) that sign the server's certificate; public ones if not set.",
    )
    dicomweb_client_certificate: FilePath | None = Field(
        default=None, description="The worker's own certificate (PEM), if the server asks for one."
    )
    dicomweb_client_key: FilePath | None = Field(
        default=None,
        description="That certificate's key (PEM, no passphrase), if in a file of its own.",
    )
    dicomweb_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds to wait for one answer of the DICOMweb server."
    )
    dicomweb_url: _Url | None = Field(
        default=None,
        validate_default=True,
        description="Address under which the DICOMweb server's `studies` lie.",
    )
    bundle: str | None = Field(
        default=None,
        description="Folder of the model bundle; the packaged one where not set.",
    )
    site_rules: str | None = Field(
        default=None, description="TOML file with the site's own routing rules."
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
        description="Where to compute: auto, cpu, cuda or cuda:N.",
    )
    concurrency: int = Field(
        default=1, ge=1, le=64, description="Worker processes; one for each GPU, which take turns."
    )
    time_limit_s: int = Field(
        default=900,
        ge=30,
        description="A study that takes longer is given up and its process replaced.",
    )
    stop_s: float = Field(
        default=60.0,
        ge=0,
        description="Told to stop, the worker finishes the running study; what takes longer than "
        "this goes back to the queue.",
    )
    max_retries: int = Field(
        default=20,
        ge=0,
        description="How often a study is tried again after an error that may pass. While the "
        "archive is away as a whole, studies wait for it without end.",
    )
    max_deliveries: int = Field(
        default=3, ge=1, description="How often a study may kill its process before it is given up."
    )
    incomplete: Incomplete = Field(
        default=Incomplete.GRADE,
        description="A study without a sagittal T1, sagittal T2 or axial T2: grade what is there "
        "at once (a series that comes late revises the report), wait for the rest and then grade "
        "what is there, or wait and then reject it.",
    )
    incomplete_wait_s: int = Field(
        default=600,
        ge=1,
        description="How long to wait for missing series, from when the last one came.",
    )
    reconcile_s: float = Field(
        default=60.0,
        gt=0,
        description="How often the archive is searched for studies that no message told of.",
    )
    reconcile_days: float = Field(
        default=7.0,
        ge=0,
        description="Studies that last changed longer ago are left alone, but for those that wait "
        "for missing series; `lumbar reconcile` finds all.",
    )
    forward: str | None = Field(
        default=None,
        pattern=r"^(modality|dicomweb):.+$",
        description="Where Orthanc sends each report on: modality:NAME (C-STORE) or dicomweb:NAME "
        "(STOW-RS), with a name of its own configuration.",
    )
    health_host: str = Field(
        default="127.0.0.1",
        description="Address of /live, /ready and /metrics (HTTP, without password or TLS).",
    )
    health_port: int = Field(
        default=8043,
        ge=0,
        le=65535,
        description="Their port; each worker of one machine needs its own, 0 for none.",
    )
    stalled_s: float | None = Field(
        default=None,
        gt=0,
        description="Not ready when studies wait and none has ended for so long; the time limit "
        "and two minutes where not set.",
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    log_format: LogFormat = Field(default=LogFormat.JSON, description="json or console.")

    @field_validator("dicomweb_url")
    @classmethod
    def _needed(cls, url: str | None, others: ValidationInfo) -> str | None:
        if url is None and others.data.get("archive") is ArchiveKind.DICOMWEB:
            raise ValueError(f"must be set where {PREFIX}ARCHIVE is dicomweb")
        return url

    @field_validator("forward")
    @classmethod
    def _by_orthanc(cls, destination: str | None, others: ValidationInfo) -> str | None:
        if destination and others.data.get("archive") is ArchiveKind.DICOMWEB:
            raise ValueError(f"needs Orthanc, which sends: {PREFIX}ARCHIVE is dicomweb")
        return destination

    @field_validator("dicomweb_token", "dicomweb_token_file")
    @classmethod
    def _alone(cls, token: object, others: ValidationInfo) -> object:
        for other in ("dicomweb_username", "dicomweb_token"):
            if other != others.field_name and token and others.data.get(other):
                raise ValueError(f"cannot be set beside {PREFIX}{other.upper()}: choose one")
        return token

    @field_validator("dicomweb_password", "dicomweb_client_key")
    @classmethod
    def _beside(cls, value: object, others: ValidationInfo) -> object:
        other = _BELONGS_TO[str(others.field_name)]
        if value and not others.data.get(other):
            raise ValueError(f"is of no use without {PREFIX}{other.upper()}")
        return value

    @property
    def patience_s(self) -> float:
        """How long studies may wait without one ending before the worker counts as stalled."""
        return self.stalled_s or self.time_limit_s + 120.0

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
