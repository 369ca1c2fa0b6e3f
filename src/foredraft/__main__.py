"""`python -m foredraft` is the command line."""

from foredraft.cli.main import app

app()
