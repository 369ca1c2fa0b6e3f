"""OpenAI's Responses: items in and out, conversations that are kept, and what agents such as Codex send."""
