"""llama-server's flags for the same server in xllamacpp's wheel: `python -m llama_server --model FILE ...`.

The wheel holds llama.cpp's own HTTP server, and no program with its command line. This gives it the flags that a
description leads to, under their names in llama.cpp's common/arg.cpp, and refuses any other one.
"""
