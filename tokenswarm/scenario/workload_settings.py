"""The tables [rag], [chat], [batch] and [reasoning] of a scenario: what each workload can be told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tokenswarm.scenario.distribution import Distribution

_Count = Annotated[int, Field(strict=True, ge=1)]
_Share = Annotated[float, Field(strict=True, ge=0, le=1)]


def _constant(value: float) -> Distribution:
    return Distribution(kind="constant", value=value)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RagSettings(_Settings):
    """Readers who ask about shared reference documents."""

    documents: _Count = Field(default=24, description="number of shared documents")
    zipf_s: Annotated[float, Field(strict=True, ge=0, le=10)] = Field(
        default=1.0, description="popularity: document k is opened in proportion to 1/k^zipf_s; 0 = all alike"
    )
    document_tokens: Distribution = Field(default=_constant(3000), description="length of a document, about, tokens")
    questions_per_reader: Distribution = Field(default=_constant(3), description="questions that one reader asks")
    history: bool = Field(
        default=False, strict=True, description="true: a question carries the earlier questions and answers"
    )


class ChatSettings(_Settings):
    """Conversations that accumulate history, or one long context asked four unrelated questions."""

    style: Literal["conversation", "four_questions"] = Field(
        default="conversation",
        description="conversation: history grows turn by turn; four_questions: context_tokens, asked fresh, cached, "
        "cached, then a small question without the context",
    )
    system_tokens: _Count = Field(default=200, description="length of the system prompt that all share, about, tokens")
    turns: Distribution = Field(default=_constant(5), description="requests in a conversation, branches included")
    message_tokens: Distribution = Field(default=_constant(60), description="length of a user's message, about, tokens")
    answer_tokens: Distribution | None = Field(
        default=None, description="max_tokens of each answer; unset: output.max_tokens"
    )
    branch_probability: _Share = Field(
        default=0.0, description="chance that a later turn regenerates the last answer or edits an earlier message"
    )
    assistant_turns: Literal["engine", "corpus"] = Field(
        default="engine",
        description="whose words enter the history: the engine's answer, or scripted text (equal prompts everywhere)",
    )
    history_limit_tokens: _Count = Field(
        default=6000, description="a conversation ends before its prompt exceeds this, about, tokens"
    )
    context_tokens: _Count = Field(default=7000, description="length of the context of four_questions, about, tokens")


class BatchSettings(_Settings):
    """Unique documents, each put into one of a few categories."""

    categories: tuple[str, ...] = Field(
        default=("syntax", "data", "execution", "tools", "other"), description="one-word labels to choose from"
    )
    document_tokens: Distribution = Field(default=_constant(250), description="length of a document, about, tokens")

    @field_validator("categories")
    @classmethod
    def _single_words(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        if len(categories) < 2 or len({c.lower() for c in categories}) != len(categories):
            raise ValueError("should be at least two different words")
        if not all(c.isalnum() for c in categories):
            raise ValueError("should be single words of letters and digits, since a one-word answer is checked")
        return categories


class ReasoningSettings(_Settings):
    """Generated tasks with a known answer."""

    tasks: tuple[Literal["bug", "arithmetic", "logic"], ...] = Field(
        default=("bug", "arithmetic", "logic"), description="kinds of task, asked in equal parts"
    )
    difficulty: Annotated[int, Field(strict=True, ge=1, le=5)] = Field(
        default=3, description="1 (short tasks) to 5 (long tasks)"
    )

    @model_validator(mode="after")
    def _some_task(self) -> ReasoningSettings:
        if not self.tasks:
            raise ValueError("tasks should hold at least one of 'bug', 'arithmetic', 'logic'")
        return self
