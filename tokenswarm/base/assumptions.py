"""Default assumptions that several rooms use when nothing better is known."""

from __future__ import annotations

TOKEN_S = 0.02
"""Seconds per answer token: for the pace of a closed loop before it is measured, and for the pauses in recorded traffic
that has only request times."""
