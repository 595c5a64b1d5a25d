"""`python3 -m sglang.launch_server ...` of the stand-in."""

import os
import sys

os.execvp("python", ["python", "/stand_in/engine.py", "sglang", *sys.argv[1:]])
