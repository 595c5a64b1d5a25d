"""Agents that call tools: each prompt grows by a tool's result, and sub-agents work in parallel.

Run it: make load SCENARIO=agent, or locust -f locustfiles/agent.py --host http://127.0.0.1:8000
"""

from locust import task

from tokenswarm.users import LLMUser


class ToolAgent(LLMUser):
    """Works on one task after another. The human reads each report before giving the next task."""

    scenario = "agent"  # scenarios/agent.toml: tools, steps, how long tools take, sub-agents

    @task
    def work(self):
        self.follow(self.next_session())

    def follow(self, work):
        for prompt in work:
            answer = self.ask(prompt)  # its calls are checked against the tools, see the column valid_output
            if not answer.ok:
                break
            work.record_answer(answer.text, answer.calls)
            self.together(ToolAgent.follow, work.sub_sessions())  # waits until all of them have reported
            self.think()  # while the tool runs; after a report, while the human reads
