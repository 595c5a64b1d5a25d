"""The kinds of workload. Each has a name and settings, which are the scenario's table of that name.

Kinds are extensions: modules of the package `tokenswarm.workloads`, entry points of the group with the same name, or a
Python file. A kind is a class defined there with `name` and `Settings` (see workloads/base.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel, ConfigDict

from tokenswarm.base.extensions import ExtensionGroup


class WorkloadSettings(BaseModel):
    """Settings of a workload: fields with a default and a description. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def completed(cls, table: dict[str, object], folders: Sequence[Path]) -> dict[str, object]:
        """The table, completed with values that only the machine that plans a run can fill in; unchanged by default.
        `folders` are the bases of relative paths. Raises UserError.
        """
        return table

    @classmethod
    def completed_scenario(
        cls, values: dict[str, object], table: dict[str, object], explicit: Collection[str]
    ) -> dict[str, object]:
        """The scenario's values, updated with what follows from the completed `table`, such as its load; unchanged by
        default. `explicit` has the dotted names of values set by the user. Raises UserError."""
        return values

    @property
    def raw_reasoning(self) -> bool:
        """Whether answers contain the model's reasoning verbatim, between think tags."""
        return False

    @property
    def each_once(self) -> bool:
        """Whether the measured phase sends each session once and then ends, so that no session continues into it from
        the warm-up."""
        return False


def _kinds_in(module: ModuleType) -> dict[str, object]:
    members: list[object] = list(vars(module).values())
    return {
        each.name: each  # type: ignore[attr-defined]  # as is asked below
        for each in members
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and isinstance(getattr(each, "name", None), str)
        and _is_settings(getattr(each, "Settings", None))
    }


def _is_settings(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


WORKLOADS = ExtensionGroup("tokenswarm.workloads", "workload", _kinds_in)
