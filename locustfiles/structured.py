"""Structured output: one record from each document, as JSON that must match a schema.

Run it: make load SCENARIO=structured, or locust -f locustfiles/structured.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class StructuredExtractor(LLMUser):
    """Extracts a record from one document after another, without a pause."""

    scenario = "structured"  # scenarios/structured.toml: schema sizes, and the share of requests without one

    @task
    def extract(self):
        for prompt in self.next_session():
            self.ask(prompt)  # the answer is checked against the schema, see the column valid_output
            self.think()
