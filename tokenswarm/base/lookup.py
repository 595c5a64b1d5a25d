"""Where a scenario, an engine's description or a locustfile is looked up by its name.

In this order: the folder of that kind in the working folder (`./scenarios`, `./engines`, `./endpoints`,
`./locustfiles`), the one in the user's configuration folder, and what comes with tokenswarm. The first one found is
meant, so that a file of the user's stands before one of the same name that comes with tokenswarm. What is written as a
path is that file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tokenswarm.base.data_files import CHECKOUT, ENDPOINTS_DIR, ENGINES_DIR, LOCUSTFILES_DIR, SCENARIOS_DIR
from tokenswarm.base.files import at_home, is_there
from tokenswarm.base.sentences import unknown

WORKING, CONFIGURATION, PACKAGE = "working folder", "configuration folder", "tokenswarm"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that has names: `folder` is what its folders are called, `packaged` the one with tokenswarm."""

    folder: str
    suffix: str
    packaged: Path
    called: str = ""
    """What people call one, where that is not the folder's name without its s."""

    def places(self) -> dict[str, Path]:
        """The folders that are searched, in order, by what people call them. They need not exist."""
        return {
            WORKING: Path.cwd() / self.folder,
            CONFIGURATION: configuration_folder() / self.folder,
            PACKAGE: self.packaged,
        }

    def files(self) -> dict[str, Path]:
        """All files by name, sorted; of those of one name the first in the order of the places."""
        by_name: dict[str, Path] = {}
        for folder in self.places().values():
            for path in folder.glob(f"*{self.suffix}"):
                if path.is_file() and not path.name.startswith((".", "_")):
                    by_name.setdefault(path.stem, path)
        return dict(sorted(by_name.items()))

    def find(self, name: str, beside: Iterable[Path] = ()) -> Path | None:
        """The file that `name` means, absolute; None if there is none.

        `name` is a path (one with a slash, or one whose file is there), or a name with or without the suffix. A
        relative path counts from the folders `beside`, then from the working folder.
        """
        if self.is_path(name):
            for folder in (*beside, Path.cwd()):
                path = folder / at_home(name)
                if is_there(path):
                    return path.resolve()
            if "/" in name:
                return None
        return self.files().get(name.removesuffix(self.suffix))

    def is_path(self, name: str) -> bool:
        """Whether `name` is written as a path: with a slash, or with the suffix of this kind of file."""
        return "/" in name or name.endswith(self.suffix)

    def missing(self, name: str, beside: Iterable[Path] = (), further: Iterable[str] = ()) -> str:
        """Why `find` has no such file: where it looked, and which names there are, `further` ones among them."""
        what, near = self.called or self.folder.removesuffix("s"), [str(folder) for folder in beside]
        if "/" in name:
            folders = [] if at_home(name).is_absolute() else [*near, str(Path.cwd())]
            file = what if self.called or what.endswith("file") else f"{what} file"
            return f"there is no {file} {name}" + (f" in {' or '.join(folders)}" if folders else "")
        places = [*near, f"./{self.folder}", str(self.places()[CONFIGURATION])]
        return (
            f"{unknown(what, name.removesuffix(self.suffix), [*self.files(), *further])}; looked in "
            f"{', '.join(places)} and what comes with tokenswarm; the path of a {self.suffix} file works too"
        )

    def place_of(self, path: Path) -> str | None:
        """What people call the place that `path` was found in; None for a path elsewhere."""
        return next((place for place, folder in reversed(self.places().items()) if path.parent == folder), None)


SCENARIOS = FileKind("scenarios", ".toml", SCENARIOS_DIR)
ENGINES = FileKind("engines", ".toml", ENGINES_DIR)
ENDPOINTS = FileKind("endpoints", ".toml", ENDPOINTS_DIR)
LOCUSTFILES = FileKind("locustfiles", ".py", LOCUSTFILES_DIR)


def configuration_folder() -> Path:
    """The user's own folder for tokenswarm, such as ~/.config/tokenswarm."""
    return platformdirs.user_config_path("tokenswarm")


def shown(path: Path) -> str:
    """The path as people are told it: within the checkout from its top, elsewhere whole."""
    return str(path.relative_to(CHECKOUT)) if CHECKOUT and path.is_relative_to(CHECKOUT) else str(path)
