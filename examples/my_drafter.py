"""A source of guesses of one's own: what followed the last time the same three tokens stood in the text."""

import time
from collections.abc import Sequence

from foredraft import LLM
from foredraft.speculative.drafters.finder import READ_A_ROUND, Finder


class Trigrams:
    """The text of one answer, and where each three tokens stood last."""

    def __init__(self) -> None:
        self.text: list[int] = []
        self.places: dict[tuple[int, ...], int] = {}
        self.before: int | None = None  # where the last three tokens stood before

    def follow(self, tokens: Sequence[int]) -> bool:
        for token in tokens[len(self.text) : len(self.text) + READ_A_ROUND]:
            self.text.append(token)
            last = tuple(self.text[-3:])
            self.before, self.places[last] = self.places.get(last), len(self.text)
        return len(self.text) == len(tokens)

    def find(self, limit: int) -> tuple[list[int], list[float]]:
        guess = [] if self.before is None else self.text[self.before : self.before + limit]
        return guess, [0.6] * len(guess)  # how sure it is; the controller learns what that is worth


class MyDrafter(Finder):
    name = "trigram"

    def __init__(self) -> None:
        super().__init__(lambda sequence: Trigrams(), time.perf_counter)


if __name__ == "__main__":
    copying = "Write the following text once more, exactly as it is: The old clock is in the library."
    with LLM.load(draft=None, drafter=MyDrafter(), controller="fixed") as llm:
        print(llm.chat(copying, temperature=0).result.stats.by_source)
