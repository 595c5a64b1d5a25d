"""Where we reach into Locust's own objects: what is hung on its environment, and which of its functions are replaced.

Locust's types know neither. Here alone both are done by name, so that all the others can say what they get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from locust import User
from locust.env import Environment

from tokenswarm.generator.load_process import LoadProcess

_ROLE, _CLASSES = "tokenswarm", "tokenswarm_classes"


class HungRole(Protocol):
    """What the users of a process see of the role that it plays."""

    @property
    def process(self) -> LoadProcess | None:
        """What loads; None before the test has started."""

    @property
    def gave_up(self) -> bool:
        """Whether the test could not start."""


def hang_role(environment: Environment, role: HungRole) -> None:
    """From now on `role_on` finds this role."""
    setattr(environment, _ROLE, role)


def role_on(environment: object) -> HungRole | None:
    """The role of the process with this environment; None before Locust is set up."""
    role: HungRole | None = getattr(environment, _ROLE, None)
    return role


def loaded_classes(environment: Environment) -> list[type[User]]:
    """The user classes of the locustfiles, whichever of them the run that was begun last had."""
    known: list[type[User]] | None = getattr(environment, _CLASSES, None)
    if known is None:
        known = list(environment.user_classes)
        setattr(environment, _CLASSES, known)
    return known


def replace_function(owner: object, name: str, replacement: Callable[..., object]) -> None:
    """Put ours where Locust has its own. Raises AttributeError where this Locust has none of that name, for a
    replacement that nobody calls would go unnoticed."""
    getattr(owner, name)
    setattr(owner, name, replacement)
