"""A batch job: many documents, each classified with one word.

Run it: make load SCENARIO=batch, or locust -f locustfiles/batch.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class BatchClassifier(LLMUser):
    """Classifies one document after another, without a pause."""

    scenario = "batch"  # scenarios/batch.toml: the categories, and how long documents are

    @task
    def classify(self):
        for prompt in self.next_session():
            self.ask(prompt)  # the answer is checked, see the column valid_output
            self.think()
