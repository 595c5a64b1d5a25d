"""The known formats, one file each."""

from __future__ import annotations

from tokenswarm.traces.format import Format
from tokenswarm.traces.formats import (
    agentic,
    azure,
    bailian,
    body_log,
    burstgpt,
    mooncake,
    openai_batch,
    plain,
    sharegpt,
    turn_rows,
    weka,
    wildchat,
)

FORMATS: tuple[Format, ...] = (
    mooncake.FORMAT,
    bailian.FORMAT,
    burstgpt.FORMAT,
    azure.FORMAT,
    weka.FORMAT,
    body_log.FORMAT,
    agentic.FORMAT,
    sharegpt.FORMAT,
    wildchat.FORMAT,
    openai_batch.FORMAT,
    turn_rows.FORMAT,
    *plain.FORMATS,
)
BY_NAME = {each.name: each for each in FORMATS}
