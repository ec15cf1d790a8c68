"""URLs of the OHIF viewer: a study with its report, or one target on its slice."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from dicom_sr.findings import Target


def viewer_link(viewer: str, study_instance_uid: str, target: Target | None = None) -> str:
    """The URL of a study in the viewer, opened on one target if it is given.

    `viewer` is the viewer's root, such as `https://pacs/ohif`. The fragment after `#` is not
    sent to the server; deploy/ohif/lumbar.js reads it.
    """
    query = urlencode({"StudyInstanceUIDs": study_instance_uid})
    url = f"{viewer.rstrip('/')}/viewer?{query}"
    return url if target is None else f"{url}#target={quote(str(target))}"
