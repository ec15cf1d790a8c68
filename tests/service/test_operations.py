"""The administrator's commands with real servers: reconcile, regrade, failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from deploy.demo import arrival, stack
from dicom_sr import reader
from dicom_sr.revisions import current_report, predecessors
from tests.support.bundles import recalibrated_bundle
from worker.approaches import read_identity
from worker.archive.orthanc import OrthancArchive
from worker.cli import main
from worker.models.card import DEFAULT
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.service.jobs import Priority
from worker.service.record_store import RecordStore
from worker.service.records import Kind, Record, now, sources_of

QUEUE = "lumbar"
PASS_S = 1


@dataclass(frozen=True)
class Site:
    """Redis, Orthanc and its client, the commands' environment, and a way to start a worker."""

    redis: redis.Redis[bytes]
    orthanc: stack.OrthancServer
    client: httpx.Client
    environment: dict[str, str]
    worker: Callable[..., AbstractContextManager[stack.Process]]

    def lumbar(self, *arguments: object, code: int = 0) -> str:
        """Run the command; return stdout if it succeeds, else stderr."""
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            assert main([str(argument) for argument in arguments]) == code, err.getvalue()
        return err.getvalue() if code else out.getvalue()

    def found(self, *arguments: object) -> list[tuple[str, str, str]]:
        """The result of `lumbar reconcile` or `lumbar regrade` for each study."""
        printed = json.loads(self.lumbar(*arguments, "--json"))
        return [(one["study"], one["reason"], one["state"]) for one in printed["studies"]]

    def failures(self, *arguments: object) -> list[dict[str, Any]]:
        return json.loads(self.lumbar("failures", "list", *arguments, "--json"))["failures"]

    def waiting(self) -> dict[Priority, int]:
        """The number of messages at each priority that has some."""
        keys = {p: f"{QUEUE}\x06\x16{p.value}" if p else QUEUE for p in Priority}
        return {p: n for p, key in keys.items() if (n := self.redis.llen(key))}

    def arrives(self, seed: int, folder: Path) -> tuple[str, str]:
        """Store a phantom and delete its message; return its UID and Orthanc's id."""
        phantom = make_phantom(seed, slices=SMALL)
        write_phantom(phantom, folder)
        arrival.send(self.client, sorted(folder.rglob("*.dcm")))
        study = arrival.orthanc_study(self.client, phantom.study_instance_uid)
        wait_until(lambda: self.client.get(f"/studies/{study}").json()["IsStable"])
        wait_until(self.waiting)
        self.redis.delete(QUEUE, *(f"{QUEUE}\x06\x16{p.value}" for p in Priority))
        return phantom.study_instance_uid, study

    def busy(self) -> bool:
        """Whether anything arrives, waits or is graded; the arrival of a report counts, too."""
        stable = [study["IsStable"] for study in self.client.get("/studies?expand").json()]
        if not all(stable):
            return True
        time.sleep(0.5)  # from stable to the message
        return bool(self.waiting() or self.redis.hlen(f"{QUEUE}:running"))

    def passes(self, count: int = 3) -> None:
        """Wait until a supervisor has reconciled so many times."""
        for _ in range(count):
            wait_until(lambda: not self.redis.exists(f"{QUEUE}:reconcile_lock"))
            wait_until(lambda: self.redis.exists(f"{QUEUE}:reconcile_lock"))

    def records(self) -> RecordStore:
        archive = OrthancArchive.connect(
            self.orthanc.url, self.orthanc.username, self.orthanc.password
        )
        return RecordStore(archive, self.redis, QUEUE)


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(servers_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Servers for this module, without a worker."""
    folder = tmp_path_factory.mktemp("operations")
    with (
        stack.redis_server(folder) as server,
        stack.orthanc_server(folder, server.url, stable_age_s=1) as orthanc,
        orthanc.client() as client,
    ):

        def worker(**variables: str) -> AbstractContextManager[stack.Process]:
            variables = {"LUMBAR_RECONCILE_S": str(PASS_S), **variables}
            return stack.lumbar_worker(folder, server.url, orthanc, variables=variables)

        environment = {
            "LUMBAR_REDIS_URL": server.url,
            "LUMBAR_ORTHANC_URL": orthanc.url,
            "LUMBAR_ORTHANC_USERNAME": orthanc.username,
            "LUMBAR_ORTHANC_PASSWORD": orthanc.password,
        }
        yield Site(redis.Redis.from_url(server.url), orthanc, client, environment, worker)


@pytest.fixture(scope="module")
def new_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged bundle with another calibration, and so another identity."""
    return recalibrated_bundle(tmp_path_factory.mktemp("bundle") / "new")


def test_lost_studies_are_found_and_new_models_revise_their_reports(site, new_bundle, tmp_path):
    """A study without a message is found by a dry run and graded once after `reconcile`. Another
    bundle is refused while the worker uses the old one; then a second report revises the first,
    and a repeated command changes nothing."""
    uid, study = site.arrives(61, tmp_path / "phantom")
    ours, theirs = (read_identity(folder).sha256 for folder in (DEFAULT, new_bundle))

    unknown = "has no report yet"
    assert site.found("reconcile", "--dry-run") == [(study, unknown, "not sent (dry run)")]
    assert site.waiting() == {}
    assert site.found("reconcile", "--since", "all") == [(study, unknown, "queued")]
    assert site.found("reconcile") == [(study, unknown, "already in the queue")]
    assert site.waiting() == {Priority.BACKLOG: 1}

    with site.worker() as worker:
        assert arrival.wait_for_result(worker, study).outcome == "graded"
        wait_until(lambda: not site.busy())
        assert site.found("reconcile") == []
        (first,) = arrival.reports(site.client, uid)
        assert reader.read(first).bundle.sha256 == ours

        refused = site.lumbar("regrade", "--all", "--bundle", new_bundle, code=2)
        assert "a worker uses other models" in refused
        assert refused.count("\n") == 1
        dry = site.found("regrade", "--all", "--bundle", new_bundle, "--dry-run")
        assert dry == [
            (study, "graded by other models or an earlier version", "not sent (dry run)")
        ]
        assert site.found("regrade", "--all") == []
        assert site.found("regrade", uid) == [(study, "graded with these models", "unchanged")]
        assert site.waiting() == {}

    site.redis.delete(f"{QUEUE}:active_models")  # otherwise the old announcement counts for a while
    with site.worker(LUMBAR_BUNDLE=str(new_bundle)) as worker:
        site.passes(2)
        assert len(arrival.reports(site.client, uid)) == 1  # a new bundle alone regrades nothing
        found = site.found("regrade", "--all", "--bundle", new_bundle)
        assert found == [(study, "graded by other models or an earlier version", "queued")]
        wait_until(lambda: len(arrival.reports(site.client, uid)) == 2, 300)
        wait_until(lambda: not site.busy())
        stored = arrival.reports(site.client, uid)
        (second,) = (one for one in stored if one.SOPInstanceUID != first.SOPInstanceUID)
        assert reader.read(second).bundle.sha256 == theirs
        assert predecessors(second) == [first.SOPInstanceUID]
        assert current_report(stored).SOPInstanceUID == second.SOPInstanceUID
        assert site.found("regrade", "--all", "--bundle", new_bundle) == []


def test_a_dead_letter_is_listed_dismissed_and_replayed(site, tmp_path):
    """It survives a loss of Redis's data, is skipped once dismissed, and graded when replayed."""
    uid, study = site.arrives(62, tmp_path / "phantom")
    records = site.records()
    with OrthancArchive.connect(
        site.orthanc.url, site.orthanc.username, site.orthanc.password
    ) as archive:
        sources = sources_of(archive.inventory(study))
    details = {"code": "DeviceBusy", "reason": "out of memory", "step": "localise", "attempts": 21}
    failed = Record(
        kind=Kind.FAILED,
        sources=sources,
        bundle=read_identity(DEFAULT).sha256,
        time=now(),
        **details,
    )
    records.write(study, failed)

    (listed,) = site.failures()
    assert listed | details | {"study": study, "kind": "failed"} == listed
    assert site.failures("--code", "TimeLimit") == []
    site.redis.flushall()
    assert site.failures() == []
    assert site.failures("--scan") == [listed] == site.failures()
    assert "out of memory" in site.lumbar("failures", "show", uid)
    assert site.found("reconcile", "--since", "all") == []

    site.redis.flushall()
    with site.worker() as worker:
        site.passes()
        assert site.failures() == [listed]  # the reconciler read it again
        assert site.lumbar("failures", "dismiss", uid) == f"dismissed  {study}\n"
        assert site.failures() == []
        site.passes()
        assert records.read(study).kind is Kind.DISMISSED
        assert site.failures("--scan") == []
        assert arrival.log_events(worker, study) == []
        assert arrival.reports(site.client, uid) == []

        assert site.lumbar("failures", "replay", uid) == f"replayed  {study}\n"
        assert arrival.wait_for_result(worker, study).outcome == "graded"
        assert len(arrival.reports(site.client, uid)) == 1
        refused = site.lumbar("failures", "replay", study, code=2)
        assert "is not a dead letter: it is graded" in refused


def test_a_deleted_study_is_not_listed(site):
    """A dead letter whose study was deleted is removed from the list."""
    gone = "-".join(["0123abcd"] * 5)
    record = Record(kind=Kind.FAILED, sources="", bundle="", time=now())
    site.redis.hset(f"{QUEUE}:failures", gone, record.model_dump_json())
    assert len(site.failures()) == 1
    assert site.lumbar("failures", "replay", "--all") == "no dead letters\n"
    assert site.failures() == []


def test_an_outage_of_redis_is_one_line(site, monkeypatch):
    """No traceback, no password, and the exit code for a transient error."""
    monkeypatch.setitem(site.environment, "LUMBAR_REDIS_URL", "redis://:secret@127.0.0.1:1/0")
    message = site.lumbar("failures", "list", code=75)
    assert message.count("\n") == 1
    assert "LUMBAR_REDIS_URL" in message
    assert "secret" not in message
