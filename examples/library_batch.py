"""A list of prompts as one batch, four at a time; and several answers to one prompt."""

from foredraft import LLM, BatchError

questions = ["What is 2 + 3?", "What is 7 + 1?", "What is the capital of France?", ""]

with LLM.load(slots=4) as llm:
    try:
        answers = llm.chat(questions, temperature=0, max_tokens=40)
    except BatchError as failed:  # the empty one; the others have been answered all the same
        print(failed)
        for question, result in zip(questions, failed.results, strict=True):
            print(f"{question!r}: {result}")

    answers = llm.chat(questions[:3], temperature=0, max_tokens=40)
    print([answer.text for answer in answers])

    three = llm.generate("Once upon a time", n=3, seed=7, max_tokens=8)
    print([answer.seed for answer in three])
