"""How many threads a process uses, and that idle threads sleep in every command."""

import os
import subprocess
import sys

import pytest

from worker.threads import threads_per_process, wait_passively


@pytest.mark.parametrize(
    ("cores", "processes", "setting", "threads"),
    [(8, 1, 0, 8), (8, 2, 0, 4), (8, 3, 0, 2), (2, 3, 0, 1), (8, 3, 5, 5), (1, 1, 0, 1)],
)
def test_processes_share_the_cores(monkeypatch, cores, processes, setting, threads) -> None:
    """Each gets an equal share, one at least; the setting overrides it."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert threads_per_process(processes, setting) == threads


def test_omp_num_threads_is_left_alone(monkeypatch) -> None:
    """What an administrator set for the process stays, unless LUMBAR_THREADS is set too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_per_process(2) is None
    assert threads_per_process(2, 4) == 4


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_policy_in_the_environment_stays(monkeypatch, given, policy) -> None:
    """Only where none is set, idle threads sleep."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == policy


def test_the_command_sets_the_policy_before_torch_is_imported() -> None:
    """Afterwards it would have no effect."""
    program = (
        "import os, sys\n"
        "from worker.cli import main\n"
        "assert 'torch' not in sys.modules\n"
        "main(['--version'])\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "PASSIVE"


def test_the_parent_of_the_grading_processes_imports_no_torch() -> None:
    """Torch loaded before a fork can hang the child; the supervisor needs none either."""
    program = (
        "import sys, worker.service.app, worker.service.supervisor_process\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_imported_before_the_fork_starts_no_thread_and_no_gpu() -> None:
    """Either would not survive in the forked children."""
    program = (
        "import os, worker.service.app\n"
        "from worker.service.runtime import import_libraries\n"
        "threads = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = threads(); import_libraries(); import torch\n"
        "print(threads() - before, torch.cuda.is_initialized())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["0", "False"], found.stderr
