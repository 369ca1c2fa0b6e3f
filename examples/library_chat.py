"""Ask a model, and see what the draft did: `python library_chat.py [MODEL [DRAFT]]`; without, the embedded pair."""

import sys

from foredraft import LLM

main = sys.argv[1] if len(sys.argv) > 1 else None  # a path, a name, or "owner/name:Q4_K_M" of the hub
draft = sys.argv[2] if len(sys.argv) > 2 else "auto"

with LLM.load(main, draft) as llm:
    print(llm)
    talk = [{"role": "user", "content": "What is 2 + 3?"}]
    answer = llm.chat(talk, temperature=0).result
    print(answer)  # its text; `answer.reasoning` has the thinking of a model that thinks

    talk += [answer.message, {"role": "user", "content": "What is the quadratic equation formula?"}]
    for piece in llm.chat(talk, temperature=0):
        print(f"[{piece}]" if piece.origin == "accepted" else piece, end="", flush=True)
    print(f"\nThe first answer: {answer.stats.accepted} of {answer.stats.drafted} draft tokens accepted")
