"""The worker behind the queue: a Celery app whose one task grades one study."""
