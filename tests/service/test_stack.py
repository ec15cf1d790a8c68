"""The servers' context managers leave no process behind and report errors."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from deploy.demo import process, stack


def test_nothing_is_left_when_the_body_fails(servers_installed, tmp_path):
    """An error inside the block ends the server's whole group."""
    groups = []

    def interrupted() -> None:
        with stack.redis_server(tmp_path) as server:
            groups.append(server.process.popen.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.killpg(groups[0], 0)


def test_nothing_is_left_when_we_are_killed(servers_installed, tmp_path):
    """Not even SIGKILL of the process that started a server leaves the server running."""
    code = (
        "import sys, time, pathlib, stack\n"
        f"with stack.redis_server(pathlib.Path({str(tmp_path)!r})) as server:\n"
        "    print(server.process.popen.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(stack.__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        server = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (
        Path(f"/proc/{server}/cmdline").exists()
        and b"redis" in Path(f"/proc/{server}/cmdline").read_bytes()
    ):
        assert time.monotonic() < deadline, "Redis still runs"
        time.sleep(0.05)


def test_a_killed_server_comes_back_where_it_was(servers_installed, tmp_path):
    """After SIGKILL and a restart it has the same address and files, and its log goes on."""
    with stack.redis_server(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("study", "waits")
        before, first = server.process.popen.pid, server.process.log_text()
        server.process.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(stack.StackError, match="Redis ended with code -9"):
            server.process.check()
        server.process.restart()
        assert client.get("study") == b"waits"
        assert str(server.process.popen.pid) in server.process.log_text()
        assert str(before) not in server.process.log_text()
        assert first in server.process.log.read_text()


def test_a_restart_ends_what_the_killed_leader_left(tmp_path):
    """A child that outlived its parent does not go on beside the new one."""
    command = ["/bin/sh", "-c", "sleep 60 & echo child $!; wait"]
    with process.running(
        "The parent", command, tmp_path / "log", ready=lambda parent: "child" in parent.log_text()
    ) as parent:
        child = int(parent.log_text().split()[1])
        parent.kill()
        os.kill(child, 0)
        parent.restart()
        assert parent.log_text() != f"child {child}\n"
        stat, deadline = Path(f"/proc/{child}/stat"), time.monotonic() + 10
        while stat.exists() and " Z " not in stat.read_text():
            assert time.monotonic() < deadline, "the child still runs"
            time.sleep(0.05)


def test_a_server_that_dies_shows_its_log(servers_installed, tmp_path, monkeypatch):
    """A server that cannot start says so with the end of its log."""
    taken = socket.create_server((stack.LOOPBACK, 0))
    monkeypatch.setattr(stack, "free_port", lambda: taken.getsockname()[1])
    with (
        taken,
        pytest.raises(stack.StackError, match=r"Redis ended with code 1\.\n.*redis.log"),
        stack.redis_server(tmp_path),
    ):
        pass


def test_a_missing_program_says_what_to_install(tmp_path, monkeypatch):
    """Without the program the message is the command that installs it."""
    monkeypatch.setattr(process, "SYSTEM_PATH", "")
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(stack.StackError, match=r"apt-get install .*redis-server"),
        stack.redis_server(tmp_path),
    ):
        pass


def test_comments_of_orthancs_json_are_not_in_strings(tmp_path):
    """Comments go, an address with slashes within a string stays."""
    path = tmp_path / "c.json"
    path.write_text('// a\n{"url": "http://x/*y*/", /* b\n c */ "n": 1 // d\n}')
    assert stack.read_json_with_comments(path) == {"url": "http://x/*y*/", "n": 1}


def test_the_configuration_has_no_user_by_default():
    """The packaged configuration requires a user, has none, and is local to the machine."""
    configuration = stack.read_json_with_comments(stack.CONFIGURATION)
    assert configuration["AuthenticationEnabled"] is True
    assert configuration["RegisteredUsers"] == {}
    assert configuration["RemoteAccessAllowed"] is False
