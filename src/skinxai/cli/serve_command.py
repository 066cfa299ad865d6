"""``skinxai serve``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.errors import OptionError


def _option(name: str, words: str) -> typer.models.OptionInfo:
    """An option that is also an environment variable, for containers."""
    found: typer.models.OptionInfo = typer.Option(
        f"--{name}",
        help=words,
        envvar=f"SKINXAI_SERVE_{name.upper().replace('-', '_')}",
        show_envvar=False,
    )
    return found


def serve(
    model: Annotated[
        list[str],
        _option("model", "Model folder or name on the Hub, =WEIGHT for its share; repeatable."),
    ] = ["bundled"],  # noqa: B006
    shadow: Annotated[
        list[str], _option("shadow", "Model that is asked too, but never answers; repeatable.")
    ] = [],  # noqa: B006
    host: Annotated[
        str, _option("host", "Interface to listen at; 0.0.0.0 shows it to other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to listen at; 0 takes any free one.",
            envvar=["SKINXAI_SERVE_PORT", "AIP_HTTP_PORT"], show_envvar=False,
        ),
    ] = 8000,
    allow_host: Annotated[
        list[str], _option("allow-host", "Name that clients may call it by; repeatable.")
    ] = [],  # noqa: B006
    api_keys: Annotated[
        Path | None, _option("api-keys", "File with hashes of valid keys, one a line.")
    ] = None,
    backend: Annotated[
        str, _option("backend", "auto, torch, onnx or openvino; auto takes the fastest installed.")
    ] = "auto",
    device: Annotated[str, _option("device", "auto, cpu, cuda ….")] = "auto",
    max_batch: Annotated[int, _option("max-batch", "Most images of one forward pass.")] = 16,
    max_wait: Annotated[
        float, _option("max-wait", "Milliseconds that an idle model waits for more images.")
    ] = 0.0,
    queue: Annotated[
        int, _option("queue", "Most images that wait or are computed; more get 503.")
    ] = 64,
    deadline: Annotated[
        float, _option("deadline", "Seconds to answer within; what comes too late gets 504.")
    ] = 10.0,
    max_body_mb: Annotated[int, _option("max-body-mb", "MiB of a request; more gets 413.")] = 32,
    max_images: Annotated[int, _option("max-images", "Most images of a request.")] = 32,
    max_pixels: Annotated[int, _option("max-pixels", "Most pixels of an image.")] = 40_000_000,
    rate: Annotated[
        float, _option("rate", "Requests a second of one client; more get 429. 0: any number.")
    ] = 0.0,
    watch: Annotated[
        float, _option("watch", "Seconds between looks for a replaced model folder; 0: never.")
    ] = 0.0,
    cache_secret: Annotated[
        str, _option("cache-secret", "Seals answers in a Redis; better as environment variable.")
    ] = "",
    cache: Annotated[str, _option("cache", "memory, off, or redis://HOST:PORT/NUMBER.")] = "memory",
    review: Annotated[
        str | None, _option("review", "Database for review, such as sqlite:///cases.db.")
    ] = None,
    keep_images: Annotated[
        Path | None, _option("keep-images", "Folder for the images of cases; none are kept.")
    ] = None,
    keep_days: Annotated[
        float | None, _option("keep-days", "Days after which kept images are deleted; cases stay.")
    ] = None,
    drift: Annotated[
        bool,
        typer.Option(
            "--drift/--no-drift", help="Watch for drift.", envvar="SKINXAI_SERVE_DRIFT",
            show_envvar=False,
        ),
    ] = True,
    grace: Annotated[
        float, _option("grace", "Seconds for accepted requests when it ends.")
    ] = 20.0,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Print a new key and its hash, and exit.")
    ] = False,
) -> None:  # fmt: skip
    """Answer HTTP requests on this machine, with a queue, batches and limits.

    Each option is also an environment variable, such as SKINXAI_SERVE_MAX_BATCH.
    """
    try:
        from skinxai.serving.server import serve
    except ModuleNotFoundError as error:
        raise OptionError(
            f"the service needs the package {error.name}: pip install 'skinxai[serve]'."
        ) from error
    from skinxai.serving.service_settings import ServiceSettings

    if new_key:
        from skinxai.serving import api_keys as keys

        key, hashed = keys.new_key()
        typer.echo(f"key:  {key}\nhash: {hashed}")
        return
    serve(
        ServiceSettings(
            models=tuple(model), shadows=tuple(shadow), host=host, port=port,
            allow_hosts=tuple(allow_host), api_keys=api_keys, backend=backend, device=device,
            max_batch=max_batch, max_wait=max_wait, queue=queue, deadline=deadline,
            max_body_mb=max_body_mb, max_images=max_images, max_pixels=max_pixels, rate=rate,
            watch=watch, cache_secret=cache_secret,
            cache=cache, review=review, keep_images=keep_images, keep_days=keep_days, drift=drift,
            grace=grace,
        )
    )  # fmt: skip
