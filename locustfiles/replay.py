"""Users or programs that send a trace's requests at their recorded times.

Run it: make load SCENARIO=replay DATA=prod.jsonl
"""

from locust import task

from tokenswarm.users import LLMUser


class ReplayUser(LLMUser):
    """Takes the next session of the trace, and sends its requests at their times."""

    scenario = "replay"  # scenarios/replay.toml: which part of the trace, how fast, text or token ids

    @task
    def ask_as_recorded(self):
        self.follow(self.next_session())

    def follow(self, session):
        for prompt in session:
            self.ask(prompt)  # waits for the recorded time, the previous answer and the recorded pause
            self.together(ReplayUser.follow, session.sub_sessions())  # sub-agents work as recorded
            self.think()
