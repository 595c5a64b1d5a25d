"""Code that others add to tokenswarm without changing it: kinds of workload, laws of arrival.

A group is a package whose modules each bring one (those that come with tokenswarm) and, under the same name, a group
of entry points (those of installed packages). What is written as the path of a Python file is taken from that file.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from tokenswarm.base.files import at_home, is_there


@dataclass(frozen=True, slots=True)
class ExtensionGroup:
    """`name`: package and group of entry points. `what`: an extension, for messages. `offered(module)`: those in a
    module, by name."""

    name: str
    what: str
    offered: Callable[[ModuleType], Mapping[str, object]]

    def names(self) -> list[str]:
        """All that have a name, sorted."""
        return sorted({*_packaged(self), *_entry_points(self.name)})

    def get(self, name_or_path: str, further: Iterable[str] = ()) -> Any:
        """The extension of that name, or in that Python file: `./mine.py`, or `./mine.py:NAME` where it holds several.

        Raises ValueError with the end of a sentence, such as `should be one of 'a' or 'b'`. `further`: names that are
        allowed too.
        """
        if is_path(name_or_path):
            path, name = split_path(name_or_path)
            return self._in_file(at_home(path), name)
        if name_or_path in _packaged(self):
            return _packaged(self)[name_or_path]
        if name_or_path in _entry_points(self.name):
            return self._of_entry_point(_entry_points(self.name)[name_or_path])
        *others, last = [f"'{name}'" for name in sorted({*self.names(), *further})]
        raise ValueError(f"should be one of {', '.join(others)} or {last}" if others else f"should be {last}")

    def _in_file(self, path: Path, name: str) -> object:
        if not is_there(path):
            raise ValueError("there is no such file")
        offered = self.offered(_module_of(str(path.resolve())))
        by_name = {**offered, **{getattr(each, "__name__", ""): each for each in offered.values()}}
        if name:
            if name not in by_name:
                raise ValueError(f"that file has no {self.what} {name} (it has {', '.join(offered) or 'none'})")
            return by_name[name]
        if len(offered) != 1:
            raise ValueError(
                f"that file has {len(offered)} of the kind {self.what}; it should have one"
                + (f", or name it: {path.name}:{next(iter(offered))}" if offered else "")
            )
        return next(iter(offered.values()))

    def _of_entry_point(self, point: EntryPoint) -> object:
        try:
            loaded = point.load()
        except Exception as error:
            raise ValueError(f"{point.value} cannot be loaded ({type(error).__name__}: {error})") from None
        if not isinstance(loaded, ModuleType):
            return loaded
        offered = self.offered(loaded)
        if point.name not in offered:
            raise ValueError(f"{point.value} has no {self.what} {point.name}")
        return offered[point.name]


def is_path(name: str) -> bool:
    """Whether an extension is named by a Python file: `mine.py`, `folder/mine.py:NAME`."""
    return split_path(name)[0].endswith(".py")


def split_path(name: str) -> tuple[str, str]:
    """The file and the name in it, "" for none."""
    path, _, inside = name.rpartition(":")
    return (path, inside) if path.endswith(".py") else (name, "")


def absolute(name: str, folders: Iterable[Path]) -> str:
    """The same extension named by an absolute path, looked for in `folders`; any other name as it is."""
    path, inside = split_path(name)
    if not path.endswith(".py"):
        return name
    whole = next((file for folder in folders if is_there(file := folder / at_home(path))), None)
    return name if whole is None else str(whole.resolve()) + (f":{inside}" if inside else "")


@cache
def _packaged(group: ExtensionGroup) -> Mapping[str, object]:
    package = importlib.import_module(group.name)
    modules = [importlib.import_module(f"{group.name}.{info.name}") for info in pkgutil.iter_modules(package.__path__)]
    return {name: each for module in modules for name, each in group.offered(module).items()}


@cache
def _entry_points(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


@cache
def _module_of(path: str) -> ModuleType:
    """A Python file as a module; it is run once in each process. Raises ValueError."""
    name = f"tokenswarm_extension_{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # as for every file ending in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints of its classes are looked up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{path} cannot be loaded ({type(error).__name__}: {error})") from None
    return module
