"""The checks of every request: its host, its origin, its key, and how often its client asks."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import Scope

from skinxai.serving.api_keys import check_key, read_hashes
from skinxai.serving.problems import Problem
from skinxai.serving.rates import Rates
from skinxai.serving.service_settings import ServiceSettings
from skinxai.web.connections import address_of
from skinxai.web.visitors import against, own_hosts

PROBES = frozenset({"/healthz", "/readyz", "/ping"})
"""Asked by whoever runs the service, under any host and without a key; they say nothing else."""


def path_of(scope: Scope) -> str:
    """The path of a request below that of the service, where a proxy or a mount gives it one."""
    path, root = str(scope["path"]), scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def guard(settings: ServiceSettings) -> Callable[[Scope, Headers], None]:
    """The checks that the settings ask for; each refuses by a `Problem`.

    Raises:
        OptionError: a file of keys that cannot be used.
    """
    hosts = own_hosts(settings.host, settings.allow_hosts)
    hashes = read_hashes(settings.api_keys) if settings.api_keys is not None else ()
    rates = Rates(settings.rate) if settings.rate else None

    def check(scope: Scope, headers: Headers) -> None:
        if path_of(scope) in PROBES:
            return
        if words := against(headers.get("host", ""), headers.get("origin"), hosts):
            raise Problem(403, "host", words)
        client = check_key(headers, hashes) if hashes else address_of(scope.get("client"))
        if rates is not None:
            rates.check(client)

    return check
