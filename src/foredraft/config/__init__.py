"""Settings, folders, and the user's list of models."""
