"""The service under Ray Serve: the same application in several replicas. The only file with ray."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from skinxai.serving.app import ServiceApp, create_app
from skinxai.serving.service_settings import ServiceSettings

LOOK = 0.05
"""Seconds between two looks whether a replica's models are loaded."""


def ray_application(settings: ServiceSettings | None = None, *, replicas: int = 1) -> Any:
    """The service for ``ray.serve.run``, each replica with its own models, queue and metrics.

    A replica gets requests once its models are loaded. Host, port and grace are Ray's.

    Args:
        settings: of each replica; the defaults otherwise.
        replicas: how many processes.
    """
    apps: list[ServiceApp] = []
    failures: list[BaseException] = []

    def build() -> ServiceApp:
        apps.append(create_app(settings, failed=failures.append))
        return apps[0]

    class Replica:
        """What Ray asks beside the application."""

        async def check_health(self) -> None:
            """Wait for the models; then say whether their workers live."""
            while not apps[0].service.loaded:
                if failures:
                    raise failures[0]
                await asyncio.sleep(LOOK)
            if not apps[0].service.alive:
                raise RuntimeError("a model's worker is dead or hangs")

    ingress = serve.ingress(build)(Replica)
    return serve.deployment(num_replicas=replicas, name="skinxai")(ingress).bind()
