"""What is assumed where nothing better is known, by more than one room."""

from __future__ import annotations

TOKEN_S = 0.02
"""How long a token of an answer takes: for the pace of a closed loop before it was measured, and for the pauses in
recorded traffic that has the times of requests alone."""
