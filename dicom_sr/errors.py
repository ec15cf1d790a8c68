"""The one error of this library."""


class ReportError(ValueError):
    """A report that cannot be written, or an SR that is not one of ours.

    The message names the finding or the part of the document, and never a patient.
    """
