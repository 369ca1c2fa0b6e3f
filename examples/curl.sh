#!/bin/sh
# The same with curl: stream an answer, then see what is loaded.
URL="${FOREDRAFT_URL:-http://127.0.0.1:3673}"
curl --silent --show-error --fail --no-buffer "$URL/v1/chat/completions" \
  --header "Content-Type: application/json" \
  --data '{"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 40, "stream": true,
           "draft_model": "auto", "speculative": {"max_draft": 4, "explain": true}}'
curl --silent --show-error --fail "$URL/api/foredraft/models"
