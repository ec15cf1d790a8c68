"""The error tree: the type of an error decides about retries.

LumbarError
├─ Transient       retry with backoff              ArchiveUnavailable, DeviceBusy, QueueUnavailable
├─ Rejected        acknowledge, keep the reason    StudyGone, NotLumbar, NoUsableSeries,
│                                                  BrokenStudy, SeveralPatients
└─ Misconfigured   stop at start, say what to do   BundleMissing, BundleMismatch, BadSettings

The policy is decided once, in `worker/service/tasks.py`. Messages say what to do next
and never contain a patient's name, id or birth date.
"""


class LumbarError(Exception):
    """Base class of all errors of Orthanc Lumbar."""


class Transient(LumbarError):
    """A temporary failure: retry with backoff."""


class ArchiveUnavailable(Transient):
    """No response from the archive, or a server error."""


class DeviceBusy(Transient):
    """The compute device is out of memory."""


class QueueUnavailable(Transient):
    """No response from Redis."""


class Rejected(LumbarError):
    """The study cannot be graded as it is: acknowledge it and keep the reason."""


class StudyGone(Rejected):
    """The archive no longer holds the study."""


class NotLumbar(Rejected):
    """The study holds no lumbar MRI."""


class NoUsableSeries(Rejected):
    """No series of the study has a role."""


class BrokenStudy(Rejected):
    """The data of the study are contradictory or cannot be decoded."""


class SeveralPatients(Rejected):
    """The objects of the study name different patients."""


class Misconfigured(LumbarError):
    """The installation or configuration is wrong: stop at start and say what to do."""


class BundleMissing(Misconfigured):
    """No model bundle at the configured path."""


class BundleMismatch(Misconfigured):
    """The files of a bundle do not match its card."""


class BadSettings(Misconfigured):
    """A LUMBAR_* variable or a command-line option has an invalid value."""
