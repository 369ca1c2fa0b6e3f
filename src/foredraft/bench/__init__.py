"""What speculation is worth on this machine: measured in turns, with intervals, the text checked on the way."""
