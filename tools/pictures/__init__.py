"""The pictures of the README and of docs/, all of them from real runs: `python -m tools.pictures [NAME …]`."""
