"""Chat users: conversations that grow turn by turn.

Run it: make load SCENARIO=chat, or locust -f locustfiles/chat.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class MultiTurnChatter(LLMUser):
    """Holds one conversation after another; each message carries the whole history."""

    scenario = "chat"  # scenarios/chat.toml: how many turns, how long, how often a user edits a question

    @task
    def chat(self):
        conversation = self.next_session()
        for prompt in conversation:
            answer = self.ask(prompt)  # streams the answer, times it, writes one row
            if not answer.ok:
                break  # an error ends the conversation, and the next one begins
            conversation.record_answer(answer.text)  # becomes part of the history
            self.think()
