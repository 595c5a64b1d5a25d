"""Synthetic sessions: the scenario has their lengths, turns and shared prefixes, but no texts.

Run it: make load SCENARIO=synthetic, or locust -f locustfiles/synthetic.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class SyntheticUser(LLMUser):
    """Goes through one session after another."""

    scenario = "synthetic"  # scenarios/synthetic.toml, or one that `tokenswarm profile FILE --scenario` wrote

    @task
    def session(self):
        for prompt in self.next_session():
            self.ask(prompt)
            self.think()
