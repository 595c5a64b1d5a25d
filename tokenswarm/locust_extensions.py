"""What other rooms add to a Locust process, put together here: the tab in Locust's web UI, metrics for Prometheus.

Both are imported only where they are wanted, since they take a while.
"""

from __future__ import annotations

import os

from locust.env import Environment

from tokenswarm.base.environment import METRICS_VARIABLE
from tokenswarm.generator.roles import Coordinator, ProcessRole


def web_ui_tab(environment: Environment, role: ProcessRole) -> None:
    """The tab LLM, where this process has a web UI."""
    if environment.web_ui is not None and isinstance(role, Coordinator):
        from tokenswarm.ui.tab import LlmTab

        LlmTab(environment, role)


def metrics_port(environment: object, role: ProcessRole) -> None:
    """Live metrics at the port that was named for them, from the first run on."""
    if isinstance(role, Coordinator) and os.environ.get(METRICS_VARIABLE):
        from tokenswarm.live.exporter import serve

        role.before_first_run.append(lambda: serve(role))
