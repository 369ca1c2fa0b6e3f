"""LM Studio's REST, with the draft where LM Studio has none: what is loaded, a chat, its statistics."""

import os

import httpx

with httpx.Client(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673"), timeout=None) as http:
    answer = http.post("/api/v1/chat", json={"input": "Hello!", "max_output_tokens": 40, "draft_model": "auto"}).json()
    print(answer["output"][0]["content"])
    stats = answer["stats"]
    print("draft:", stats.get("draft_model"), stats["speculation"]["status"], stats["speculation"]["reason"])
    print("accepted:", stats.get("accepted_draft_tokens_count"), "of", stats.get("total_draft_tokens_count"))
    for model in (each for each in http.get("/api/v1/models").json()["models"] if each["type"] == "llm"):
        for instance in model["loaded_instances"]:
            print("loaded:", instance["id"], "with the draft", instance["config"]["draft_model"])
