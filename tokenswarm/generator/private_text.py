"""Keeps the text of somebody's own prompts out of what a server says about them: it may quote what it was sent.

It runs in the event loop that takes the times of all other answers, so it must be quick for long prompts too.
"""

from __future__ import annotations

import re

from tokenswarm.workloads.base import Prompt, content_text

LEFT_OUT = "(what the server said quotes the prompt, and was left out)"
WORDS_OF_APIS = frozenset(
    {"stop", "length", "tool_calls", "function_call", "content_filter", "abort", "error", "eos", "max_tokens"}
)
"""What engines give as finish_reason: of nobody's prompt, even where one says nothing else."""
_ESCAPES = re.compile(r"\\+(?:u(?P<code>[0-9a-fA-F]{4})|[nrtfb])")
_ASCII_SIGNS = {code: None for code in range(128) if not chr(code).isalnum()}
_QUOTE_CHARS = 12
"""So many characters in a row are a quotation; fewer are words that any two texts may share."""
_PIECE_CHARS = _QUOTE_CHARS // 2
"""Every quotation holds a whole piece of the prompt, however it lies in it, so most prompts need no closer look."""


def without_prompt(detail: str, prompt: Prompt) -> str:
    """`detail`, unless it quotes a prompt that is private."""
    if not detail or not prompt.private or detail in WORDS_OF_APIS:
        return detail
    answer = _plain(detail)
    pieces = {answer[at : at + _PIECE_CHARS] for at in range(len(answer) - _PIECE_CHARS + 1)}
    for message in prompt.messages:
        text = _plain(content_text(message))
        if len(text) <= _QUOTE_CHARS:
            if text and text in answer:
                return LEFT_OUT
        elif _may_be_quoted(text, pieces) and any(
            answer[at : at + _QUOTE_CHARS] in text for at in range(len(answer) - _QUOTE_CHARS + 1)
        ):
            return LEFT_OUT
    return detail


def _may_be_quoted(text: str, pieces: set[str]) -> bool:
    return any(text[at : at + _PIECE_CHARS] in pieces for at in range(0, len(text), _PIECE_CHARS))


def _plain(text: str) -> str:
    """Letters and digits alone, of any script: a quotation may be escaped, or on other lines."""
    if "\\" in text:
        text = _ESCAPES.sub(lambda escape: chr(int(escape["code"], 16)) if escape["code"] else " ", text)
    letters = text.translate(_ASCII_SIGNS) if text.isascii() else "".join(filter(str.isalnum, text))
    return letters.casefold()
