"""Loading plugins: each in one transaction, and a broken one never stops a prediction.

Set ``SKINXAI_BLOCK_PLUGINS`` to ``1`` or ``true`` to load no plugin, or to distribution names
separated by commas to leave those out.
"""

import os
import re
import threading
from dataclasses import dataclass, replace
from typing import Any

import pluggy

from skinxai.errors import PluginError
from skinxai.plain_text import MAX_NAME, one_line
from skinxai.plugins import builtin, hookspecs
from skinxai.plugins.registry import (
    ENDS,
    THIS_PROCESS,
    Entry,
    Registry,
    installed_plugins,
    plugin_origin,
)

GROUP = "skinxai"
BLOCK = "SKINXAI_BLOCK_PLUGINS"


@dataclass(frozen=True)
class PluginStatus:
    """One plugin: what it brought, or why it was refused.

    Args:
        name: distribution name.
        version: distribution version.
        entry_point: what the distribution names.
        entries: ``kind: name`` of each registered entry.
        error: one sentence, or ``None`` when it loaded.
    """

    name: str
    version: str
    entry_point: str
    entries: tuple[str, ...] = ()
    error: str | None = None


_manager = pluggy.PluginManager(hookspecs.PROJECT)
_manager.add_hookspecs(hookspecs)
_statuses: list[PluginStatus] = []
_lock = threading.RLock()
_reading = threading.RLock()
_state = {"loaded": False}


def load() -> None:
    """Bring in the built-ins and then every installed plugin, once for each process."""
    if _state["loaded"]:
        return
    with _lock:
        if _state["loaded"] or _state.get("loading"):
            return  # the second: a plugin that looks into a registry while it is being imported
        _state["loading"] = True
        try:
            _load_all()
            _state["loaded"] = True
        finally:
            _state["loading"] = False


def statuses() -> tuple[PluginStatus, ...]:
    """What happened to each installed plugin, in loading order."""
    load()
    return tuple(_statuses)


def read_image_hook(image: Any) -> Any:
    """First answer of the installed plugins' ``skinxai_read_image``, or ``None``; one at a time."""
    load()
    with _reading:
        return _manager.hook.skinxai_read_image(image=image)


_REGISTRIES = {
    "skinxai_backbones": Registry("backbone", load),
    "skinxai_losses": Registry("loss", load),
    "skinxai_explainers": Registry("explainer", load),
    "skinxai_datasets": Registry("dataset", load),
}
backbones = _REGISTRIES["skinxai_backbones"]
losses = _REGISTRIES["skinxai_losses"]
explainers = _REGISTRIES["skinxai_explainers"]
datasets = _REGISTRIES["skinxai_datasets"]


def _load_all() -> None:
    _forget()
    _register(builtin, "skinxai", "")
    blocked = {_plain(name.strip()) for name in os.environ.get(BLOCK, "").split(",")} - {""}
    for point in installed_plugins(GROUP):
        name, version = plugin_origin(point)
        entries: tuple[str, ...] = ()
        error = None
        if blocked & {"1", "true", _plain(name)}:
            error = f"blocked by {BLOCK}"
        else:
            try:
                entries = _register(point.load(), name, version)
            except ENDS:
                raise
            except BaseException as problem:  # it may raise anything, and must not stop others
                error = one_line(f"{type(problem).__name__}: {problem}")
        _statuses.append(
            PluginStatus(name, version, one_line(point.value, MAX_NAME), entries, error)
        )


def _plain(name: str) -> str:
    """The name of a distribution as all of its spellings have it in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _forget() -> None:
    """Undo what an earlier load did before Ctrl-C ended it."""
    _statuses.clear()
    for plugin in _manager.get_plugins():
        _manager.unregister(plugin)
    for registry in _REGISTRIES.values():
        registry.remove(e.name for e in registry.entries() if e.source != THIS_PROCESS)


def methods_for_any_network() -> str:
    """Names of the explainers that need no feature map, for an error's remedy."""
    return ", ".join(entry.name for entry in explainers.entries() if entry.any_network)


def _register(plugin: Any, source: str, version: str) -> tuple[str, ...]:
    """Register all of a plugin's entries, or none of them and raise."""
    name = _manager.register(plugin, name=f"{source}:{getattr(plugin, '__name__', id(plugin))}")
    added: list[tuple[Registry, list[Entry]]] = []
    try:
        _manager.check_pending()
        if source != "skinxai" and not _manager.get_hookcallers(plugin):
            raise PluginError(f"plugin {source} must implement a skinxai hook, found none.")
        for hook, registry in _REGISTRIES.items():
            entries = _entries(plugin, hook, source, version)
            registry.add(entries)
            added.append((registry, entries))
    except BaseException:
        for registry, entries in added:
            registry.remove(entry.name for entry in entries)
        _manager.unregister(name=name)
        raise
    return tuple(f"{registry.kind}: {e.name}" for registry, es in added for e in es)


def _entries(plugin: Any, hook: str, source: str, version: str) -> list[Entry]:
    others = [p for p in _manager.get_plugins() if p is not plugin]
    answers = _manager.subset_hook_caller(hook, others)()
    entries = []
    for entry in [entry for answer in answers for entry in answer]:
        if not isinstance(entry, Entry):
            raise PluginError(
                f"{hook} of {source} must return skinxai.Entry values, got {type(entry).__name__}."
            )
        entries.append(replace(entry, source=source, version=version))
    return entries
