"""People, or programs, who ask what a trace has on record, when it was asked.

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
            self.ask(prompt)  # waits for the recorded time, and for the answer before and the pause behind it
            self.together(ReplayUser.follow, session.sub_sessions())  # sub-agents work as on record
            self.think()
