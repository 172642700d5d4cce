"""Writing in steps of a fixed shape, which a CUDA card can record once and replay.

A step of a small model takes a card less time than Python takes to ask for it. So a
`StepWriter` keeps all that a step needs on the device; recorded, Python asks once for a
whole step, and looks only now and then at what was written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from mini_gpt.characters import Tokenizer
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.modes import evaluating
from mini_gpt.support.nonfinite import check_highest
from mini_gpt.support.step_writer import StepWriter
from mini_gpt.support.text_streamer import TextStreamer

_WARM_UP = 3  # steps before the recording, for what libraries prepare at first use
_LOOK_AT_MOST = 16  # steps between two looks at what was written


class Recorder:
    """A step, done as it is at first; on a CUDA card then recorded, and replayed.

    Where it cannot be recorded, a warning says why, and it is done as it is.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.plain, self.device = step, device
        self.graph: torch.cuda.CUDAGraph | None = None
        self.until_recorded: float = _WARM_UP if device.type == "cuda" else torch.inf

    def __call__(self) -> None:
        """Do the step."""
        if self.until_recorded == 0:
            self._record()
        if self.graph is not None:
            self.graph.replay()
            return
        self.until_recorded -= 1
        if self.device.type != "cuda":
            self.plain()
            return
        current, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(current)  # what is to be recorded may not begin there
        with torch.cuda.stream(beside):
            self.plain()
        current.wait_stream(beside)

    def _record(self) -> None:
        self.until_recorded = torch.inf  # once
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):  # notes the operations, and does none
                self.plain()
            self.graph = graph
        except RuntimeError as fault:
            _warn(f"writing without a recorded step: {str(fault).splitlines()[0]}")


def _warn(words: str) -> None:
    warnings.warn(words, RuntimeWarning, stacklevel=4)


def compiled_step(writer: StepWriter) -> Callable[[], None]:
    """A writer's step through torch.compile; a warning says why where it fails.

    The first call compiles, once for each number of rows and each capacity.
    """
    chosen: Callable[[], None] = torch.compile(writer.step, dynamic=False)
    state = [writer.position, writer.ids, writer.highest, writer.seen]
    tried = False

    def step() -> None:
        nonlocal chosen, tried
        if tried:
            chosen()
            return
        before = [None if each is None else each.clone() for each in state]
        tried = True
        try:
            chosen()
        except Exception as fault:  # of many kinds, as of any compiler
            reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
            _warn(f"writing without torch.compile, which fails here: {reason}")
            for each, value in zip(state, before, strict=True):
                if each is not None and value is not None:
                    each.copy_(value)  # keys and values are only written anew
            chosen = writer.step
            chosen()

    return step


@torch.no_grad()
def _look(step: Callable[[], None], count: int, model: GPT) -> None:
    with evaluating(model):
        for _ in range(count):
            step()


def write_ahead(
    writer: StepWriter, step: Callable[[], None] | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Write position after position, with a look at what came only now and then.

    Args:
        writer: After its first `choose`.
        step: Its step, or one that does the same; None: recorded where possible.

    Yields:
        Each position, and the id of each row there. A row that needs no more is written
        on all the same: whoever looks stops asking when all have ended.

    Raises:
        ValueError: where a row's highest score is not a finite number.
    """
    done, looks = int(writer.position), 1
    last = writer.ids.shape[1] - 1
    step = step or Recorder(writer.step, writer.ids.device)
    ready = done
    while True:
        columns = slice(done, ready + 1)
        ids, highest = writer.ids[:, columns].T, writer.highest[:, columns].T
        pairs = zip(ids.tolist(), highest.tolist(), strict=True)
        for place, (row_ids, scores) in enumerate(pairs, start=done):
            check_highest(scores)
            yield place, row_ids
        done = ready + 1
        if done > last:
            return
        ready = min(last, ready + looks)
        looks = min(_LOOK_AT_MOST, 2 * looks)  # the first words come soon
        _look(step, ready + 1 - done, writer.model)


def last_position(
    model: GPT,
    givens: Sequence[Sequence[int]],
    config: SampleConfig,
    recorded: bool | None,
) -> int | None:
    """Position of the last token that a row may ask for; None: not by fixed steps.

    Args:
        recorded: Whether that is wanted; None: on CUDA cards. Where the window may have
            to slide, each step has another shape.
    """
    context = model.config.context_length
    wanted = next(model.parameters()).is_cuda if recorded is None else recorded
    last = max(map(len, givens), default=0) + config.max_new_tokens - 1
    fits = last <= context or config.past_context == "stop"
    return min(last, context) if wanted and fits else None


def replay(
    session: Any,
    tokenizer: Tokenizer,
    givens: Sequence[Sequence[int]],
    texts: Sequence[TextStreamer],
    config: SampleConfig,
    last: int,
) -> Iterator[tuple[int, str]]:
    """Write all rows up to a position; yields (row, text that has become certain).

    A row that has ended is written on, and not looked at.

    Args:
        session: A new `InferenceSession`; it reads what all prompts have.
        last: As `last_position` gives it.
    """
    rows = [row for row, text in enumerate(texts) if text.finish_reason is None]
    if not rows:
        return
    prompts = [givens[row] for row in rows]
    shortest = min(map(len, prompts))
    logits = session.feed([prompt[:shortest] for prompt in prompts])[:, 0].clone()
    seeds = [config.seed + row for row in rows]
    fed = [
        (cache.keys[:, :, :shortest], cache.values[:, :, :shortest])
        for cache in session.caches
    ]
    writer = StepWriter(
        session.model, fed, prompts, config, seeds, tokenizer.vocab_size, last
    )
    writer.choose(logits)
    for done, ids in write_ahead(writer):
        full = config.past_context == "stop" and done >= session.context
        for row, id in zip(rows, ids, strict=True):
            if done < len(givens[row]) or texts[row].finish_reason is not None:
                continue  # its prompt, or beyond its end
            if certain := texts[row].add(id, full=full):
                yield row, certain
        if all(texts[row].finish_reason for row in rows):
            return
