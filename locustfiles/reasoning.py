"""Users with hard questions: find the bug, do the arithmetic, solve a puzzle.

Run it: make load SCENARIO=reasoning, or locust -f locustfiles/reasoning.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class ReasoningUser(LLMUser):
    """Poses a task with a known answer, and waits while the model reasons."""

    scenario = "reasoning"  # scenarios/reasoning.toml: which kinds of task, and how hard

    @task
    def puzzle(self):
        for prompt in self.next_session():
            self.ask(prompt)  # TTFT is the first reasoning token, TTFO the first of the answer
            self.think()
