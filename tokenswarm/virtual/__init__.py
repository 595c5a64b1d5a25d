"""Runs in virtual time: the project's own arrivals, sessions and engine model, without sleeping, sockets or Locust.

A one-minute run takes milliseconds, and the same settings give exactly the same rows. It imitates a run by the wall
clock, and is the instrument for testing statistics, searches and comparisons. Its engine is the simulator's model, so
all results are SIMULATED.
"""
