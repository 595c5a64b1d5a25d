"""Runs in virtual time: the project's own arrivals, sessions and engine model, without sleeping, sockets or Locust.

A run of a minute takes milliseconds, and the same settings give the same rows to the last digit. It stands beside the
wall clock's run, which it imitates, as the instrument with which statistics, searches and comparisons are tried. Its
engine is the simulator's model: whatever comes of it is SIMULATED.
"""
