"""What makes the documentation: pictures and reference pages. Run from the repository's root."""
