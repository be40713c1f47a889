"""gunicorn's settings: equal in every arm but for the address it binds, which the job gives."""

import os

bind = os.environ["BIND"]
workers = int(os.environ.get("WORKERS", "1"))
worker_class = "uvicorn.workers.UvicornWorker"
worker_tmp_dir = "/dev/shm"  # noqa: S108 (the heartbeat file: never on a disk)
wsgi_app = "application:app"
backlog = 2048  # the same on both transports: a full Unix backlog fails at once, TCP's retries
keepalive = 75
timeout = 60
umask = 0o117  # a Unix socket is born 0660: owner and group only
accesslog = None
