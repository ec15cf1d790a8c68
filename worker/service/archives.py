"""The archive of the settings."""

from __future__ import annotations

from pydantic import SecretStr

from worker.archive.dicomweb import DicomwebArchive
from worker.archive.dicomweb_session import Access
from worker.archive.orthanc import OrthancArchive
from worker.settings import ArchiveKind, Settings


def open_archive(
    settings: Settings, *, timeout_s: float | None = None
) -> OrthancArchive | DicomwebArchive:
    """An adapter of the archive; does not connect yet. `timeout_s` overrides the settings."""
    if settings.archive is ArchiveKind.DICOMWEB:
        return DicomwebArchive.connect(
            str(settings.dicomweb_url),
            Access(
                username=settings.dicomweb_username,
                password=_plain(settings.dicomweb_password),
                token=_plain(settings.dicomweb_token),
                token_file=settings.dicomweb_token_file,
                ca_file=settings.dicomweb_ca_file,
                client_certificate=settings.dicomweb_client_certificate,
                client_key=settings.dicomweb_client_key,
            ),
            timeout_s=timeout_s or settings.dicomweb_timeout_s,
        )
    return open_orthanc(settings, timeout_s=timeout_s)


def open_orthanc(settings: Settings, *, timeout_s: float | None = None) -> OrthancArchive:
    """An adapter of Orthanc, whatever LUMBAR_ARCHIVE is."""
    return OrthancArchive.connect(
        settings.orthanc_url,
        settings.orthanc_username,
        _plain(settings.orthanc_password),
        timeout_s=timeout_s or settings.orthanc_timeout_s,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
