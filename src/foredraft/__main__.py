"""`python -m foredraft` is the command line."""

from foredraft import huge_pages


def main() -> None:
    """The command line, in a process whose memory suits large models."""
    huge_pages.restart()
    from foredraft.cli.main import app

    app()


if __name__ == "__main__":
    main()
