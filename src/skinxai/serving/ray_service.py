"""The service under Ray Serve: the same application in several replicas. The only file with ray."""

import asyncio
from dataclasses import replace
from typing import Any

from ray import serve

from skinxai.serving.app import ServiceApp, create_app
from skinxai.serving.pool import members_of
from skinxai.serving.service_settings import ServiceSettings

LOOK = 0.05
"""Seconds between two looks whether a replica's models are loaded."""


def ray_application(settings: ServiceSettings | None = None, *, replicas: int = 1) -> Any:
    """The service for ``ray.serve.run``, each replica with its own models, queue and metrics.

    A replica gets requests once its models are loaded. Host, port and grace are Ray's.

    Args:
        settings: of each replica; the defaults otherwise. Relative folders and files are those of
            this program: replicas, whose working folder may be another one, get absolute paths.
        replicas: how many processes.

    Raises:
        OptionError: a weight of a model that is no number, or a wrong URL of a review store.
    """
    settings = _absolute(settings or ServiceSettings())
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


def _absolute(settings: ServiceSettings) -> ServiceSettings:
    """The same, without a path that means another place in another working folder."""
    members = members_of(settings)
    keys, images, review = settings.api_keys, settings.keep_images, settings.review
    if review is not None:
        from skinxai.review.engines import absolute_url

        review = absolute_url(review)
    return replace(
        settings,
        models=tuple(f"{each.source}={each.weight!r}" for each in members if not each.shadow),
        shadows=tuple(each.source for each in members if each.shadow),
        api_keys=None if keys is None else keys.absolute(),
        keep_images=None if images is None else images.absolute(),
        review=review,
    )
