"""OpenAI's dialect: /v1/models, chat/completions, completions, embeddings, responses."""
