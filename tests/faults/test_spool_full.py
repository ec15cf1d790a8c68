"""A disk beside Orthanc that takes no more while Redis is away."""

import resource
import sqlite3
from contextlib import closing
from dataclasses import replace

from deploy.demo import stack


def fill(orthanc: stack.OrthancServer) -> int:
    """Make the spool the largest of Orthanc's files, in small full pages: it has to grow.

    Returns its size in bytes; Orthanc must not run.
    """
    spool = orthanc.process.log.parent / "storage" / "lumbar-spool.db"
    spool.unlink(missing_ok=True)
    with closing(sqlite3.connect(spool)) as disk:
        disk.execute("PRAGMA page_size = 512")
        disk.execute("CREATE TABLE filler (content BLOB)")
        disk.execute("INSERT INTO filler VALUES (zeroblob(32 << 20))")
        disk.commit()
    return spool.stat().st_size


def test_the_spool_is_full_and_orthanc_dies(hospital, check):
    """What neither Redis nor the disk took is gone with Orthanc, and the reconciler finds it."""
    with hospital.trial("the spool full, Redis away, Orthanc killed") as trial:
        orthanc = hospital.orthanc.process
        orthanc.kill()
        size = fill(hospital.orthanc)
        orthanc.restart()
        hospital.redis.process.kill()
        _, most = resource.prlimit(orthanc.popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(orthanc.popen.pid, resource.RLIMIT_FSIZE, (size, most))
        for _ in range(12):
            whole = hospital.new_study()
            # One image is soon looked at; it makes the spool grow like any other study.
            hospital.send(trial, replace(whole, images=whole.images[:1]))
        hospital.send(trial)
        orthanc.wait_until(lambda: "lumbar-spool.db cannot be written" in orthanc.said())
        orthanc.kill()
        orthanc.restart()
        hospital.redis.process.restart()
        trial.ends()
    check(recorded=None)
