"""Commands whose answers can be checked: what is asked, what is right, and a template.

Everything is generated: a command has a kind, for instance "sort", and words as its
arguments. A program knows the right answer, so a program can mark a model's.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from mini_gpt.generation import generate_rows
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.resizing import resize_vocab
from mini_gpt.support.tokenizer_file import named_tokens
from mini_gpt.tokenizer import BPETokenizer

USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (END_OF_TEXT, USER, ASSISTANT)
KINDS = ("repeat", "reverse", "sort", "count", "capitals", "speak")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST_ANSWER_TOKENS = 40
_HEADING = re.compile(r"[A-Z][A-Z ']+\.")
_SPEECH = re.compile(r"(?<=\n)([A-Z][A-Z ]+)\.\n([^\n\[]+)\n")


class Exchange(NamedTuple):
    """What a user asks, and an answer that is right.

    Attributes:
        kind: One of `KINDS`.
        command: The words of the user, for instance "sort: king and fool".
        answer: The right answer; of the kind "speak", one of many.
    """

    kind: str
    command: str
    answer: str


def chat_model(model: GPT, tokenizer: BPETokenizer) -> tuple[GPT, BPETokenizer]:
    """A copy of a model, and its tokenizer, that know the template's special tokens.

    The vectors of the new tokens are the mean of the old ones and a little noise, so
    that they can be told apart before anything is trained. Those that the tokenizer has
    already are kept.
    """
    known, size = tokenizer.ids.special, tokenizer.vocab_size
    new = [token for token in SPECIAL_TOKENS if token not in known]
    # What has an id keeps it, wherever that is: the model knows it by no other.
    grown = BPETokenizer(
        tokenizer.tokens,
        pattern=tokenizer.pattern,
        special_tokens={**known, **{x: size + n for n, x in enumerate(new)}},
        added_tokens=named_tokens(tokenizer.to_dict())["added_tokens"],
    )
    before = model.config.vocab_size
    chat = resize_vocab(model, max(before, grown.vocab_size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        rows = chat.token_embedding.weight[before : grown.vocab_size]
        noise = torch.randn(rows.shape, generator=generator)
        rows += (noise * model.token_embedding.weight.float().std().cpu()).to(rows)
    return chat, grown


def special_id(tokenizer: BPETokenizer, token: str) -> int:
    """The id of a special token.

    Raises:
        ValueError: if the tokenizer has no such token.
    """
    (id,) = tokenizer.encode(token, allowed_special=[token])
    return id


def prompt_ids(tokenizer: BPETokenizer, command: str) -> list[int]:
    """What the model reads before it answers: the user's turn, and the mark of its own.

    A special token that is typed in the command is plain text, so that nobody can write
    the model's part. The command begins with a space, so that its first word has the
    token that it has within a sentence.

    Raises:
        ValueError: if the tokenizer lacks the template's special tokens.
    """
    user, assistant = (special_id(tokenizer, token) for token in (USER, ASSISTANT))
    return [user, *tokenizer.encode(f" {command}"), assistant]


def answer_ids(tokenizer: BPETokenizer, answer: str) -> list[int]:
    """What the model should write: the answer after a space, and the end of text."""
    return [*tokenizer.encode(f" {answer}"), special_id(tokenizer, END_OF_TEXT)]


def common_words(text: str, tokenizer: BPETokenizer, count: int) -> list[str]:
    """The most frequent words of a text that are one token each, after a space."""
    found = Counter(re.findall(r"(?<= )[a-z]{3,9}\b", text))
    single = (w for w, _ in found.most_common() if len(tokenizer.encode(" " + w)) < 2)
    return [word for word, _ in zip(single, range(count), strict=False)]


def first_lines(text: str, longest: int = 60) -> dict[str, list[str]]:
    """The first lines of the speeches in plays, by the name that stands above them."""
    lines: dict[str, list[str]] = {}
    for name, line in _SPEECH.findall(text):
        if len(line) <= longest:
            lines.setdefault(name, []).append(line.strip())
    return lines


def make_exchange(
    kind: str,
    words: Sequence[str],
    draw: random.Random,
    lines: dict[str, list[str]] | None = None,
) -> Exchange:
    """Draw the arguments of a command, and work out its answer.

    Args:
        kind: One of `KINDS`.
        words: What arguments are drawn from: two to five, of "capitals" one.
        draw: The source of randomness.
        lines: For the kind "speak": what each of some speakers may say.

    Raises:
        ValueError: if there is no such kind.
    """
    some = draw.sample(words, draw.randint(2, 5))
    if kind == "speak" and lines:
        name = draw.choice(sorted(lines))
        said = draw.choice(lines[name])
        return Exchange(kind, f"continue as {name}:", f"{name}.\n{said}")
    answers = {
        "repeat": " ".join(some),
        "reverse": " ".join(reversed(some)),
        "sort": " ".join(sorted(some)),
        "count": NUMBERS[len(some) - 1],
        "capitals": some[0].upper(),
    }
    if kind not in answers:
        raise ValueError(f"no kind {kind!r} of command; there are {', '.join(KINDS)}")
    asked = some[:1] if kind == "capitals" else some
    return Exchange(kind, f"{kind}: {' '.join(asked)}", answers[kind])


def make_exchanges(
    kinds: Sequence[str],
    words: Sequence[str],
    count: int,
    seed: int,
    *,
    avoid: Collection[str] = (),
    lines: dict[str, list[str]] | None = None,
) -> list[Exchange]:
    """Draw exchanges of some kinds in turn; the same seed gives the same ones.

    Args:
        count: How many.
        avoid: Commands that must not be among them, for instance those of a test.
        words, lines: As for `make_exchange`.

    Raises:
        ValueError: if there is no such kind, or nothing is left to draw.
    """
    draw, made = random.Random(seed), []
    for number in range(count):
        for _ in range(1000):
            one = make_exchange(kinds[number % len(kinds)], words, draw, lines)
            if one.command not in avoid:
                break
        else:
            raise ValueError(f"no command of kind {one.kind!r} is left; add words")
        made.append(one)
    return made


def is_right(exchange: Exchange, answer: str) -> bool:
    """Whether an answer is right, whatever stands around it in blanks.

    Of the kind "speak", any line will do that stands alone under the speaker's name.
    """
    if exchange.kind != "speak":
        return answer.strip() == exchange.answer
    heading, *lines = answer.strip().split("\n")
    expected = exchange.answer.partition("\n")[0]
    alone = len(lines) == 1 and not _HEADING.fullmatch(lines[0].strip())
    return heading == expected and alone and bool(lines[0].strip())


def answers(
    model: GPT,
    tokenizer: BPETokenizer,
    commands: Sequence[str],
    config: SampleConfig | None = None,
    at_once: int = 64,
) -> list[str]:
    """What a model answers to each command: the likeliest tokens, if nothing is said.

    Args:
        config: How to choose tokens, and how many; row i has the seed `seed + i`.
        at_once: Commands that are answered side by side.
    """
    config = config or SampleConfig(MOST_ANSWER_TOKENS, temperature=0.0)
    found: list[str] = []
    for first in range(0, len(commands), at_once):
        some = commands[first : first + at_once]
        prompts = [prompt_ids(tokenizer, command) for command in some]
        texts, growing = generate_rows(model, tokenizer, prompts, config)
        list(growing)  # to the end
        found += [text.text.strip() for text in texts]
    return found


def exact_match(
    model: GPT, tokenizer: BPETokenizer, exchanges: Sequence[Exchange]
) -> dict[str, float]:
    """The share of right answers for each kind among some exchanges."""
    commands = [exchange.command for exchange in exchanges]
    right: dict[str, list[bool]] = {}
    for one, answer in zip(exchanges, answers(model, tokenizer, commands), strict=True):
        right.setdefault(one.kind, []).append(is_right(one, answer))
    return {kind: sum(marks) / len(marks) for kind, marks in right.items()}
