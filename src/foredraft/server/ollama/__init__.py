"""Ollama's dialect: /api/chat, generate, embed, tags, show, ps, pull, copy, delete; lines of JSON instead of events."""
