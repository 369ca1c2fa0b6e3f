"""The HTTP server: one folder for each API dialect (`openai/`, `lmstudio/`), and what they share."""
