"""Where a supply of batches stands, and going on from there."""

from __future__ import annotations

from typing import Any

import numpy as np

from mini_gpt.support.token_shards import TokenRow


class Resumable:
    """What a loader of batches inherits to be stopped and continued.

    Its batches have to depend on the seed, on how many were drawn, and on what
    `_must_match` names, and on nothing else.
    """

    tokens: TokenRow
    seed: int
    drawn: int
    _epoch: tuple[int, np.ndarray[Any, Any]]

    def state_dict(self) -> dict[str, int | str]:
        """Where this loader stands; give it to `load_state_dict` to go on from here."""
        return {"drawn": self.drawn, "seed": self.seed, **self._must_match()}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Go on where another loader with the same tokens and sizes stood.

        Args:
            state: What its `state_dict` gave. The number of processes may be another.

        Raises:
            ValueError: naming what differs, since other batches would come then.
        """
        for name, value in self._must_match().items():
            if state.get(name) != value:
                raise ValueError(
                    f"the state is for {name} {state.get(name)!r}, here it is {value!r}"
                )
        self.drawn, self.seed = int(state["drawn"]), int(state["seed"])
        self._epoch = (-1, self._epoch[1])  # it belonged to the old seed

    def _must_match(self) -> dict[str, int | str]:
        """What the batches depend on besides the seed and their number."""
        names = ("batch_size", "context_length", "order")
        return {"tokens": len(self.tokens)} | {
            name: getattr(self, name) for name in names
        }
