"""Count, look at tokens and at their probabilities, and begin the answer oneself."""

import math

from foredraft import LLM

with LLM.load() as llm:
    talk = [{"role": "user", "content": "What is 2 + 3?"}]
    print(f"{llm.count(talk)} of {llm.info.n_ctx} tokens; the text alone: {llm.count('What is 2 + 3?')}")
    print(llm.detokenize(llm.tokenize("What is 2 + 3?", add_special=False)))

    answer = llm.chat(talk, temperature=0, logprobs=2).result
    for token in answer.logprobs:
        others = ", ".join(f"{one.bytes!r} {math.exp(one.logprob):.2f}" for one in token.top)
        print(f"{token.chosen.bytes!r:12} {others}")

    print(llm.chat(talk, prefill="2 + 3 =", temperature=0).text)
    print(sum(token.chosen.logprob for token in llm.score("2 + 3 = 5")))
