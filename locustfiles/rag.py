"""RAG readers: many people ask questions about shared documents.

Run it: make load SCENARIO=rag, or locust -f locustfiles/rag.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class RagReader(LLMUser):
    """Opens a document that many others read too, and asks a few questions about it."""

    scenario = "rag"  # scenarios/rag.toml: how long documents are, how popular, how many questions

    @task
    def read(self):
        reading = self.next_session()
        for prompt in reading:
            answer = self.ask(prompt)  # streams the answer, times it, writes one row
            reading.record_answer(answer.text)  # enters the next question if the scenario keeps history
            self.think()
