"""Structured output: a record out of each document, as JSON that must fit a schema.

Run it: make load SCENARIO=structured, or locust -f locustfiles/structured.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class StructuredExtractor(LLMUser):
    """Takes the next document, has a record drawn out of it, and takes the next one."""

    scenario = "structured"  # scenarios/structured.toml: the sizes of schemas, and how many go without one

    @task
    def extract(self):
        for prompt in self.next_session():
            self.ask(prompt)  # the answer is held against the schema, see the column valid_output
            self.think()
