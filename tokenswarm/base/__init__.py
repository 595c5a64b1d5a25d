"""Shared basics: errors and exit codes, masking, signals, configuration text. Imports no other room."""
