"""A main model with its draft: opening the files, setting up speculation, answering, checking the answers."""
