"""Requests that say whose they are keep to their own cached prefix; nothing else about them changes."""

from __future__ import annotations

from foredraft.core.params import Request, SamplingParams
from foredraft.scheduling.request import ScheduledRequest
from tests.scheduling.test_scheduler import alone, engine, finish, scheduler

SYSTEM = [2 + i % 30 for i in range(40)]


class Conversation:
    """One session of a scheduler: each turn sends all there was, and three tokens more."""

    def __init__(self, one, name: str, first: int) -> None:
        self.one, self.name, self.history = one, name, [*SYSTEM, *[first + i % 3 for i in range(20)]]

    def turn(self) -> ScheduledRequest:
        request = Request(tuple(self.history), SamplingParams(seed=1), max_tokens=6, ignore_eos=True, session=self.name)
        answer = self.one.submit(request)
        finish(self.one)
        self.history += [*answer.tokens, 3, 4, 5]
        return answer


def taking_turns(named: bool, turns: int = 6) -> tuple[list[ScheduledRequest], int]:
    """(the answers, cached tokens behind the common beginning) of three sessions on two slots."""
    one = scheduler(engine(n_slots=2, n_ctx=400))
    sessions = [Conversation(one, name if named else "", ord(name) % 30) for name in "abc"]
    answers = [session.turn() for _ in range(turns) for session in sessions]
    return answers, sum(max(0, answer.stats.cached_tokens - len(SYSTEM)) for answer in answers)


def test_three_sessions_take_turns_on_two_slots() -> None:
    """The one unused for longest is the very one whose turn is next: without names all lose theirs, every time."""
    unnamed, lost = taking_turns(named=False)
    named, kept = taking_turns(named=True)
    assert lost == 0
    own = [answer for answer in named[3:] if answer.stats.cached_tokens > len(SYSTEM)]
    assert len(own) >= 7, "about every other turn finds its own text"
    assert kept > 7 * 20
    assert [answer.tokens for answer in named] == [answer.tokens for answer in unnamed]
    assert [answer.tokens for answer in named] == [alone(answer.request, 400).tokens for answer in named]


def test_a_session_that_changes_its_past_overwrites_itself() -> None:
    """An answer is written anew, a history is compacted: the old text of the session is of no use to anybody."""
    one = scheduler(engine(n_slots=2, n_ctx=400))
    mine, other = Conversation(one, "mine", 5), Conversation(one, "other", 9)
    other.turn()
    mine.turn()
    mine.history = [*mine.history[:55], 7, 7, 7]
    assert mine.turn().stats.cached_tokens == 55
    kept = other.turn()
    assert kept.stats.cached_tokens >= len(kept.request.prompt) - 4, "the other session still has its slot"


def test_requests_of_one_session_at_once_have_a_slot_each() -> None:
    one = scheduler(engine(n_slots=2, n_ctx=400))
    asked = [Request((*SYSTEM, i), SamplingParams(seed=1), max_tokens=5, session="mine") for i in (3, 4)]
    answers = [one.submit(request) for request in asked]
    one.step()
    finish(one)
    assert [answer.tokens for answer in answers] == [alone(request, 400).tokens for request in asked]


def test_another_text_of_a_session_leaves_its_conversation_alone() -> None:
    """Programs ask for a title under the name of the conversation."""
    one = scheduler(engine(n_slots=2, n_ctx=400))
    mine, title = Conversation(one, "mine", 5), Conversation(one, "mine", 9)
    title.history = [*range(2, 20)]
    other = Conversation(one, "other", 7)
    for session in (other, mine, title):
        session.turn()
    again = mine.turn()
    assert again.stats.cached_tokens >= len(again.request.prompt) - 4
