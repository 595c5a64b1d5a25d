"""The only place that reaches into Locust's own objects: attributes added to its environment, and replaced functions.
Locust's types have neither, so both are accessed by name here, and all other modules get typed values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from locust import User
from locust.env import Environment

from tokenswarm.generator.load_process import LoadProcess

_ROLE, _CLASSES = "tokenswarm", "tokenswarm_classes"


class HungRole(Protocol):
    """The part of a process's role that users see."""

    @property
    def process(self) -> LoadProcess | None:
        """The load process; None before the test has started."""

    @property
    def gave_up(self) -> bool:
        """Whether the test could not start."""


def hang_role(environment: Environment, role: HungRole) -> None:
    """Store the role, so that `role_on` finds it."""
    setattr(environment, _ROLE, role)


def role_on(environment: object) -> HungRole | None:
    """The role of the process with this environment; None before Locust is set up."""
    role: HungRole | None = getattr(environment, _ROLE, None)
    return role


def loaded_classes(environment: Environment) -> list[type[User]]:
    """All user classes of the locustfiles, even if the latest run used only some."""
    known: list[type[User]] | None = getattr(environment, _CLASSES, None)
    if known is None:
        known = list(environment.user_classes)
        setattr(environment, _CLASSES, known)
    return known


def replace_function(owner: object, name: str, replacement: Callable[..., object]) -> None:
    """Replace a function of Locust. Raises AttributeError if this Locust version has no such function, since an unused
    replacement would go unnoticed."""
    getattr(owner, name)
    setattr(owner, name, replacement)
