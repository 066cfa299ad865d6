"""Registries of named things, loaded when used.

An `Entry` names its target as ``"module:attribute"``: listing a registry imports nothing, and
only `Registry.get` pays for what it returns. This module and the lazy ``skinxai/__init__.py``
are the only places that use `importlib`.
"""

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from skinxai.errors import PluginError, UnknownNameError, did_you_mean
from skinxai.interruption import SignalExit
from skinxai.plain_text import MAX_LICENCE, MAX_NAME, broken_rule, one_line

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
ENDS = (KeyboardInterrupt, SignalExit)
"""What ends the program, also while a plugin is loaded; a plugin's own `SystemExit` does not."""
THIS_PROCESS = "this process"  # the source of what was registered without a plugin


@dataclass(frozen=True)
class Entry:
    """One named thing that a plugin (or skinxai itself) offers.

    Args:
        name: what users type: lower case letters, digits, ``_``, ``-`` and ``.``.
        target: ``"module:attribute"``, imported on first use, or the object itself.
        help: one line for listings.
        source: the plugin that brought it; filled in by skinxai.
        version: that plugin's version; filled in by skinxai.
        title: how people call it, e.g. ``"Grad-CAM"``; pages show the name where it is empty.
        shows: a sentence that says what it shows or does, for people who do not know it.
        any_network: of an explainer, whether it needs nothing of a network but its logits; errors
            name such methods where a network has no feature map.
    """

    name: str
    target: Any
    help: str = ""
    source: str = ""
    version: str = ""
    title: str = ""
    shows: str = ""
    any_network: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise PluginError(
                f"Entry name must be 1 to 64 of a-z, 0-9 and _ . + -, starting with a letter "
                f"or digit, got {self.name!r}."
            )
        if isinstance(self.target, str) and not TARGET.fullmatch(self.target):
            raise PluginError(
                f"Entry {self.name!r}: target must look like 'module:attribute', "
                f"got {self.target!r}."
            )
        for field in ("help", "title", "shows"):
            if broken := broken_rule(field, getattr(self, field), MAX_LICENCE):
                raise PluginError(f"Entry {self.name!r}: {broken}")

    def load(self) -> Any:
        """Import and return the target."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ENDS:
            raise
        except BaseException as error:  # a plugin's module may raise anything on import
            raise PluginError(
                f"{self.name!r} of plugin {self.source or 'skinxai'} cannot be loaded from "
                f"{self.target!r}: {type(error).__name__}: {error}"
            ) from error


class Registry:
    """Names of one kind of thing, each with an `Entry`.

    Args:
        kind: what the names stand for, in the singular, for messages.
        prepare: called before each look-up; brings in the plugins once.
    """

    def __init__(self, kind: str, prepare: Callable[[], None] = lambda: None) -> None:
        self.kind = kind
        self._prepare = prepare
        self._entries: dict[str, Entry] = {}

    def entries(self) -> tuple[Entry, ...]:
        """All entries, sorted by name. Imports no target."""
        self._prepare()
        return tuple(self._entries[name] for name in sorted(self._entries))

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(entry.name for entry in self.entries())

    def entry(self, name: str) -> Entry:
        """The entry of ``name``; an unknown name is an `UnknownNameError` with a suggestion."""
        self._prepare()
        if not isinstance(name, str):
            raise UnknownNameError(f"The {self.kind} must be given by one name, got {name!r}.")
        if name in self._entries:
            return self._entries[name]
        hint = did_you_mean(name, self._entries, plain=_plain)  # Grad-CAM: gradcam
        raise UnknownNameError(
            f"Unknown {self.kind} {name!r}.{hint} Run 'skinxai plugins' to list them."
        )

    def get(self, name: str) -> Any:
        """Import and return what ``name`` stands for."""
        return self.entry(name).load()

    def register(self, name: str, *, help: str = "") -> Callable[[Any], Any]:
        """Return a decorator that adds the decorated object under ``name`` in this process."""

        def add(target: Any) -> Any:
            self._prepare()
            line = help or (target.__doc__ or "").strip().partition("\n")[0]
            self.add([Entry(name, target, line, source=THIS_PROCESS)])
            return target

        return add

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries, all or none; a name that is taken is a `PluginError`."""
        new: dict[str, Entry] = {}
        for entry in entries:
            if taken := self._entries.get(entry.name) or new.get(entry.name):
                raise PluginError(
                    f"{self.kind} {entry.name!r} of {entry.source} must have a new name: "
                    f"{taken.source} already brings one."
                )
            new[entry.name] = entry
        self._entries.update(new)

    def remove(self, names: Iterable[str]) -> None:
        """Remove names; unknown ones are ignored."""
        for name in names:
            self._entries.pop(name, None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]+", "", name.casefold())


def installed_version(distribution: str) -> str:
    """Of an installed package, which is not imported for it."""
    return importlib.metadata.version(distribution)


def installed_plugins(group: str) -> list[importlib.metadata.EntryPoint]:
    """Entry points of ``group`` in a fixed order, so that conflicts always end the same way."""
    points = importlib.metadata.entry_points(group=group)
    return sorted(points, key=lambda point: (_distribution(point)[0].lower(), point.name))


def plugin_origin(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Distribution name and version behind an entry point."""
    return _distribution(point)


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return one_line(point.name, MAX_NAME), ""
    return one_line(point.dist.name, MAX_NAME), one_line(point.dist.version, MAX_NAME)
