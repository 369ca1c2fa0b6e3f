"""The command line: one file a command, registered by one line in `main.py`."""
