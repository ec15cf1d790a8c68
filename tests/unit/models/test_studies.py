"""A bundle recognises the studies that it was trained on by hash; it holds no study's id."""

import hashlib
from pathlib import Path

import pytest

from worker.errors import BundleMismatch, BundleMissing
from worker.models.studies import STUDIES, read_studies, training_studies, write_studies

LEARNT = ("1002894806", "spider110", "1.2.840.113619.2")


def test_what_was_written_is_contained_and_nothing_else(tmp_path: Path) -> None:
    """Neither a part of an id nor its digest is mistaken for a study."""
    entry = write_studies(training_studies([*LEARNT, LEARNT[0]]), tmp_path)
    studies = read_studies(tmp_path, entry)
    assert len(studies) == entry.count == 3
    assert all(study in studies for study in LEARNT)
    digests = (tmp_path / STUDIES).read_text().split()
    for other in ("1002894807", "100289480", "spider11", "", " 1002894806", *digests):
        assert other not in studies


def test_no_id_can_be_read_from_the_file(tmp_path: Path) -> None:
    """Digests alone lie there, in an order that tells nothing."""
    write_studies(training_studies(LEARNT), tmp_path)
    content = (tmp_path / STUDIES).read_text()
    assert not any(study in content for study in LEARNT)
    assert content.split() == sorted(content.split())


def test_the_order_of_studies_does_not_matter(tmp_path: Path) -> None:
    """The same studies give the same file, and so the same card."""
    entries = [write_studies(training_studies(ids), tmp_path) for ids in (LEARNT, LEARNT[::-1])]
    assert entries[0] == entries[1]
    content = (tmp_path / STUDIES).read_bytes()
    assert entries[0].sha256 == hashlib.sha256(content).hexdigest()


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    """Otherwise a study could be praised by what has seen it."""
    entry = write_studies(training_studies(LEARNT), tmp_path)
    (tmp_path / STUDIES).write_text("")
    with pytest.raises(BundleMismatch, match=STUDIES):
        read_studies(tmp_path, entry)
    (tmp_path / STUDIES).unlink()
    with pytest.raises(BundleMissing, match=STUDIES):
        read_studies(tmp_path, entry)


def test_no_studies_are_no_studies(tmp_path: Path) -> None:
    """A bundle of phantoms alone has learnt from nobody."""
    entry = write_studies(training_studies([]), tmp_path)
    assert len(read_studies(tmp_path, entry)) == 0
