"""Requests in no dialect: what is asked for, and how it becomes tokens, limits and a grammar."""
