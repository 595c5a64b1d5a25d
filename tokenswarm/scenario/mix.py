"""A mix: users of several scenarios in one run, and the unit of their weights."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from tokenswarm.scenario.values import Positive, Section

USERS: Final = "users"
SESSIONS: Final = "sessions"
REQUESTS: Final = "requests"
MixOf = Literal["users", "sessions", "requests"]


class MixPart(Section):
    """One user class of a mix."""

    scenario: str = Field(description="the scenario that it plays, by name")
    user_class: Annotated[str, Field(min_length=1)] = Field(description="what its users are called in rows and figures")
    weight: Positive = Field(description="its share, against those of the others")
    base: str = Field(description="the class in its locustfile")
    locustfile: str = Field(description="who asks")
    values: dict[str, object] = Field(default_factory=dict, exclude=True, description="the whole scenario, as values")


class Mix(Section):
    """The user classes of a mix, and the unit of their weights."""

    of: MixOf = Field(description="users, session starts, or requests")
    parts: tuple[MixPart, ...] = Field(description="its user classes")
    disturbs: tuple[str, ...] = Field(
        default=(), description="user classes whose long prefills the others are measured around"
    )

    @property
    def shares(self) -> dict[str, float]:
        """The share of each user class, from 0 to 1."""
        total = sum(part.weight for part in self.parts)
        return {part.user_class: part.weight / total for part in self.parts}
