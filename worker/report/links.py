"""Addresses of the OHIF viewer: a study with its report, or one target on its slice."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from dicom_sr.findings import Target


def viewer_link(viewer: str, study_instance_uid: str, target: Target | None = None) -> str:
    """The address that shows a study, opened on one target where one is given.

    `viewer` is the viewer's root, such as `https://pacs/ohif`. What stands behind `#` never
    leaves the browser; deploy/ohif/lumbar.js reads it.
    """
    query = urlencode({"StudyInstanceUIDs": study_instance_uid})
    address = f"{viewer.rstrip('/')}/viewer?{query}"
    return address if target is None else f"{address}#target={quote(str(target))}"
