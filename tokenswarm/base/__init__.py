"""What every room may use: errors and exit codes, masking, signals, text of configuration. Imports no other room."""
