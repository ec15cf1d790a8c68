"""The error of this library."""


class ReportError(ValueError):
    """A report that cannot be written, or an SR that is not a readable lumbar report.

    The message names the finding or the part of the document, never the patient.
    """
