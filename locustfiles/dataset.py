"""Users who send the prompts in your own file.

Run it: make load SCENARIO=dataset DATA=prompts.jsonl
"""

from locust import task

from tokenswarm.users import LLMUser


class DatasetUser(LLMUser):
    """Takes a prompt, or a conversation turn by turn, from the file, then the next one."""

    scenario = "dataset"  # scenarios/dataset.toml: in which order, and how answers are checked

    @task
    def ask_from_file(self):
        for prompt in self.next_session():
            self.ask(prompt)  # the answer is compared with the expected one, see the column valid_output
            self.think()
