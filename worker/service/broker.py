"""The queue's Redis and the Celery app on it, with the reasons for its settings."""

from __future__ import annotations

from typing import Final

import redis
from celery import Celery

from worker.service.jobs import Priority
from worker.settings import Settings

_GRACE_S: Final = 60
CHILD_START_S: Final = 300
_SOCKET_S: Final = 30


def open_redis(settings: Settings) -> redis.Redis[bytes]:
    """A client of the queue's Redis; does not connect yet."""
    return redis.Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=5)


def make_app(settings: Settings) -> Celery:
    """The app of senders and worker; does not connect yet."""
    app = Celery("lumbar", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        broker_transport="worker.service.transport:Transport",
        # No pickle, no results: the archive holds the result.
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=settings.queue,
        task_default_priority=Priority.NEW.value,
        # A message is acknowledged when its study is done; that of a killed child is redelivered
        # (service/attempts.py limits how often).
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # A study that runs while Redis is unavailable is finished; its message is redelivered,
        # and the study found graded.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_time_limit=settings.time_limit_s,
        # torch and the weights take longer than Celery's four seconds.
        worker_proc_alive_timeout=CHILD_START_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Longer than a message can stay unacknowledged. Redis would redeliver it to another
            # worker after that, which would find the study leased or graded.
            "visibility_timeout": settings.time_limit_s + 2 * _GRACE_S,
            "priority_steps": [priority.value for priority in Priority],
            "socket_keepalive": True,
            "socket_timeout": _SOCKET_S,
            "socket_connect_timeout": _SOCKET_S,
            "health_check_interval": 10,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    return app
