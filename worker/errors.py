"""The error tree: the type of an error is the retry policy.

LumbarError
├─ Transient       retry with backoff              ArchiveUnavailable, DeviceBusy, QueueUnavailable
├─ Rejected        acknowledge, keep the reason    StudyGone, NotLumbar, NoUsableSeries, BrokenStudy
└─ Misconfigured   stop at start, say what to do   BundleMissing, BundleMismatch, BadSettings

The policy is decided once, in `worker/service/tasks.py`. Messages say what to do next
and never hold a patient's name, id or birth date.
"""


class LumbarError(Exception):
    """Anything that Orthanc Lumbar raises on purpose."""


class Transient(LumbarError):
    """It may work later: retry with backoff."""


class ArchiveUnavailable(Transient):
    """The archive does not answer, or answers with a server error."""


class DeviceBusy(Transient):
    """The compute device is out of memory."""


class QueueUnavailable(Transient):
    """Redis does not answer."""


class Rejected(LumbarError):
    """This study will never be graded as it is: acknowledge it and keep the reason."""


class StudyGone(Rejected):
    """The archive no longer holds the study."""


class NotLumbar(Rejected):
    """The study holds no lumbar MRI."""


class NoUsableSeries(Rejected):
    """No series of the study could be given a role."""


class BrokenStudy(Rejected):
    """The study's own data contradict themselves or cannot be decoded."""


class Misconfigured(LumbarError):
    """The installation is wrong: stop at the start and say what to do."""


class BundleMissing(Misconfigured):
    """There is no model bundle where one was asked for."""


class BundleMismatch(Misconfigured):
    """A bundle's files do not match its card."""


class BadSettings(Misconfigured):
    """A LUMBAR_* variable or a command's option has a value that cannot work."""
