"""Whether an engine has finished all earlier requests."""

from __future__ import annotations

from tokenswarm.engines.emptiness import requests_inside, wait_until_empty
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.engine_spec import load_description


class Talkative(Engine):
    """An engine whose /metrics says what it is given to say, one text after the other."""

    def __init__(self, *texts: str | None) -> None:
        super().__init__("http://127.0.0.1:1", load_description("vllm"))
        self.texts = list(texts)

    def metrics_text(self, timeout_s: float = 2.0) -> str | None:
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


def text(running: int, waiting: int) -> str:
    return f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n"


def test_what_runs_and_what_waits_is_inside() -> None:
    assert requests_inside(Talkative(text(3, 2))) == 5
    assert requests_inside(Talkative(None)) is None
    assert requests_inside(Talkative("other_metric 3\n")) is None


def test_it_is_waited_until_nothing_is_left_or_the_limit() -> None:
    slept: list[float] = []
    emptied = wait_until_empty(Talkative(text(2, 1), text(1, 0), text(0, 0)), 60.0, slept.append, lambda: 0.0)
    assert emptied.inside == 0 and len(slept) == 2
    moments = iter(range(100))
    never = wait_until_empty(Talkative(text(2, 1)), 5.0, slept.append, lambda: float(next(moments)))
    assert never.inside == 3 and never.waited_s >= 5.0
