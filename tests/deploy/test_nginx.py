"""The template of nginx's server block, filled in as the official image fills it in."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from deploy.demo import viewer

LISTEN, ORTHANC, FOLDER = "127.0.0.1:8080", "127.0.0.1:8042", Path("/usr/share/lumbar/ohif")
VARIABLES = {
    "LUMBAR_LISTEN": LISTEN,
    "LUMBAR_ORTHANC": ORTHANC,
    "LUMBAR_OHIF": str(FOLDER),
}


def test_envsubst_fills_it_in_as_the_tests_do(program):
    """The image's way and that of the browser tests give one text, nginx's variables kept."""
    template = viewer.TEMPLATE.read_text()
    assert set(re.findall(r"\$\{(\w+)\}", template)) == set(VARIABLES)
    run = subprocess.run(
        [program("envsubst", "gettext-base"), " ".join(f"${{{name}}}" for name in VARIABLES)],
        input=template,
        env=VARIABLES,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == viewer.configuration(LISTEN, ORTHANC, FOLDER)
    assert "$uri" in run.stdout


def test_nginx_accepts_it(program, tmp_path: Path):
    """`nginx -t` finds the block free of errors and of warnings."""
    nginx = program("nginx", "nginx-light")
    server = viewer.configuration(LISTEN, ORTHANC, FOLDER)
    path = viewer.write_configuration(tmp_path, server)
    run = subprocess.run(
        [nginx, "-t", "-p", tmp_path, "-e", "error.log", "-c", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "test is successful" in run.stderr
    assert "[warn]" not in run.stderr
