"""What an error leaves of a run: the state after the last whole step, saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mini_gpt.support.distributed import rank


@contextmanager
def saving_on_error(trainer: Any, save: Callable[..., None]) -> Iterator[None]:
    """Save before an error leaves the loop, if it has left the weights whole.

    That may be an error in a callback, no memory, or another process that is gone. Only
    an error while an optimizer changes weights spoils them; a step that was cut off
    before is taken again, with other random numbers for dropout. A loss that is no
    number is not worth going on from.

    Of several processes the first one saves, whichever had the error, and asks nothing
    of the others, which may be gone. It hears of their end by gloo. NCCL ends a process
    that waits for one that is gone, and then the last checkpoint is what there is.

    Args:
        trainer: A `Stepper`.
        save: Saves it; told `together=False`, it may not wait for other processes.
    """
    changed = -1  # the last step for which an optimizer has begun to change weights

    def note(*_: Any) -> None:
        nonlocal changed
        changed = trainer.steps_done

    hooks = [each.register_step_pre_hook(note) for each in trainer.optimizers]
    try:
        yield
    except FloatingPointError:
        raise
    except (Exception, SystemExit):
        if rank() == 0 and 0 < trainer.steps_done != changed:
            trainer.batches.drawn = trainer.steps_done
            with suppress(Exception):  # the first error is the one to tell
                save(together=False)
        raise
    finally:
        for hook in hooks:
            hook.remove()
