"""The commands of `python -m tokenswarm`, a module each: `add(commands)` adds its parser, which names what to run.

What a command does lives elsewhere; imports that take time stay inside its function.
"""
