"""The commands of `python -m tokenswarm`, one module each. `add(commands)` adds a command's parser, which names the
function to run. The work is done elsewhere; slow imports stay inside the function.
"""
