"""Keeps the text of somebody's own prompts out of what a server says about them: it may quote what it was sent."""

from __future__ import annotations

import re

from tokenswarm.workloads.base import Prompt, content_text

LEFT_OUT = "(what the server said quotes the prompt, and was left out)"
_ESCAPES = re.compile(r"\\+(?:u(?P<code>[0-9a-fA-F]{4})|[nrtfb])")
_QUOTE_CHARS = 12
"""So many characters in a row are a quotation; fewer are words that any two texts may share."""


def without_prompt(detail: str, prompt: Prompt) -> str:
    """`detail`, unless it quotes a prompt that is private."""
    if not detail or not prompt.private:
        return detail
    answer = _plain(detail)
    for message in prompt.messages:
        text = _plain(content_text(message))
        if len(text) <= _QUOTE_CHARS:
            if text and text in answer:
                return LEFT_OUT
        elif any(answer[at : at + _QUOTE_CHARS] in text for at in range(len(answer) - _QUOTE_CHARS + 1)):
            return LEFT_OUT
    return detail


def _plain(text: str) -> str:
    """Letters and digits alone, of any script: a quotation may be escaped, or on other lines."""
    read = _ESCAPES.sub(lambda escape: chr(int(escape["code"], 16)) if escape["code"] else " ", text)
    return "".join(filter(str.isalnum, read)).casefold()
