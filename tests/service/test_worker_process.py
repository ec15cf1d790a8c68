"""`lumbar serve` as a process: how it starts, and how it stops when it cannot work."""

import base64
import json
import subprocess
import sys

import pytest
import redis

from deploy.demo import stack

QUEUE = "lumbar-misconfigured"


def envelope(study: str) -> str:
    """A message as the plugin writes it."""
    body = json.dumps([[], {"study": study}, {}]).encode()
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": "lumbar.grade_study", "id": "m", "root_id": "m"},
            "properties": {
                "correlation_id": "m",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "t",
            },
        }
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LUMBAR_ORTHANC_PASSWORD", "wrong"), ("LUMBAR_BUNDLE", "/nowhere")],
)
def test_a_wrong_installation_stops_the_worker_and_keeps_the_studies(
    variable, value, redis_server, orthanc_server, tmp_path
):
    """The worker ends by itself with a line that says what to do; what waited still waits."""
    queue = redis.Redis.from_url(redis_server.url)
    queue.delete(QUEUE)
    queue.lpush(QUEUE, envelope("some-study"))
    wrong = {variable: value, "LUMBAR_QUEUE": QUEUE}
    with (
        pytest.raises(stack.StackError, match=r"The worker ended with code [1-9]") as ended,
        stack.lumbar_worker(tmp_path, redis_server.url, orthanc_server, variables=wrong) as worker,
    ):
        worker.wait_until(lambda: False)
    assert variable in str(ended.value) or value in str(ended.value)
    assert "Traceback" not in str(ended.value)
    assert queue.llen(QUEUE) == 1
    assert not queue.zcard("unacked_index")


def test_the_parent_stays_without_torch():
    """Torch loaded before a fork can hang the child, so the parent's modules do not bring it."""
    code = "import sys, worker.service.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
