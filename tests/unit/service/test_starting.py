"""A worker that cannot work stops at its start with an error that says what to do."""

import pytest

from worker.errors import BundleMissing
from worker.recognise import recogniser
from worker.service.broker import make_app
from worker.service.events import MetricChannel
from worker.service.runtime import start_runtime
from worker.settings import Settings


def test_a_worker_without_its_recogniser_does_not_start(monkeypatch, tmp_path):
    """Missing weights are found before any study, not at the first that needs them."""
    monkeypatch.setattr(recogniser, "packaged", lambda: recogniser.load_recogniser(tmp_path))
    settings = Settings()
    with pytest.raises(BundleMissing, match="reinstall Orthanc Lumbar"):
        start_runtime(settings, make_app(settings), MetricChannel())
