"""Tests on trained GGUF files. `make real` fetches them and runs these; `make test` leaves them out."""
