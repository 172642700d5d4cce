"""The experiments on fine-tuning: their tasks, the comparisons, and what is stored of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mini_gpt.support import finetuning_runs as runs
from mini_gpt.tokenizer import BPETokenizer
from tiny import tiny_gpt

PLAY = "\n".join(
    f"\nULYSSES.\nThe {word} of kings is high, and [Aside.] stands above the {word} of men.\n"
    f"\nTHERSITES.\nA plague upon thee, {word}, thou dog, thou fool, thou ass of the camp.\n"
    for word in ("crown", "moon", "sword", "night")
)


class TestTasks:
    def test_speeches_are_cut_into_words(self) -> None:
        found = runs.speeches(PLAY, "ULYSSES")
        assert found[0] == " the crown of kings is high and stands above the"
        assert len(found) == 4
        assert not any("aside" in part for part in found)

    def test_both_classes_hold_the_same_kind_of_words(self) -> None:
        text = "\n".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)} and so on" for n in range(500))
        text = text.replace("word", "w") * 4
        made = runs.tasks(text)["in order"]
        assert [mark for _, mark in made].count(0) == [mark for _, mark in made].count(1) == 350
        assert all(len(words.split()) == 10 for words, _ in made)
        whole = {" ".join(sorted(x.split())) for x in runs.stretches(text)}
        assert all(" ".join(sorted(words.split())) in whole for words, _ in made)

    def test_verse_and_bible_are_as_many(self) -> None:
        verse = "\n".join(f"HAMLET.\nTo be {n} or not to be that is the thing" for n in range(800))
        bible = "\n".join("and it came to pass in those days that he went up" for _ in range(400))
        made = runs.verse_or_bible(verse, bible)
        assert [mark for _, mark in made] == [0] * 350 + [1] * 350
        assert not any("hamlet" in words for words, _ in made)
        assert all("pass" in words or "days" in words for words, mark in made if mark)

    def test_no_text_is_in_both_parts(self) -> None:
        made = [(f" text {n}", n % 2) for n in range(50)]
        training, test = runs.split_task(made, 3, training=30, test=15)
        assert (len(training), len(test)) == (30, 15)
        assert not set(training) & set(test)

    def test_nobody_speaks_in_both_parts(self) -> None:
        names = ("VIOLA", "OLIVIA", "ORSINO", "FESTE", "MARIA", "CURIO")
        said = "".join(f"\n{name}.\nGo, {n}.\n" for name in names for n in range(20))
        text = said + " the king and the fool and my good lord would speak" * 3
        letters = [bytes([byte]) for byte in range(256)]
        longer = [b" " + w.encode() for w in ("king", "fool", "good", "lord", "would", "speak")]
        tokenizer = BPETokenizer(letters + longer, special_tokens=())
        training, test = runs.exchanges(text, tokenizer, ("speak", "count"), seed=1)
        heard = {one.command for one in training} & {one.command for one in test}
        assert not heard
        assert len(test) == 60


def test_old_text_comes_after_every_second_batch() -> None:
    commands = iter([(torch.tensor([[n]]), torch.tensor([[n]])) for n in range(1, 9)])
    old = np.arange(100, 400)
    found = list(itertools.islice(runs.mixed(commands, old, seed=0), 9))
    assert [int(x[0, 0]) < 100 for x, _ in found] == [True, True, False] * 3
    assert [int(x[0, 0]) for x, _ in found if x[0, 0] < 100] == [1, 2, 3, 4, 5, 6]
    inputs, targets = found[2]
    assert inputs.shape == targets.shape == (4, 64)
    assert torch.equal(targets, inputs + 1)  # all of the old text is to be predicted


@pytest.mark.slow
def test_the_ways_are_compared_and_the_base_stays() -> None:
    tokenizer = BPETokenizer([bytes([byte]) for byte in range(256)], special_tokens=())
    base = tiny_gpt(vocab_size=256, context_length=30).eval()
    before = {name: x.clone() for name, x in base.state_dict().items()}
    made = [(" good lord" if n % 2 else " foul dog", n % 2) for n in range(40)]
    found = runs.compare(base, tokenizer, made[:24], made[24:], seed=0, steps=3)
    assert list(found) == ["bag of words", "head", "lora", "full", "head, twin", "full, twin"]
    assert found["bag of words"] == 1.0
    assert all(0 <= share <= 1 for share in found.values())
    assert all(torch.equal(before[name], x) for name, x in base.state_dict().items())


class TestStored:
    def test_more_rank_learned_more_and_forgot_more_in_every_seed(self) -> None:
        record = runs.stored()
        exact = runs.mean_exact(record["ranks"], [1, 8, 32, 0])
        lost = runs.by_rank(record["ranks"], "bits_per_byte", [None, 1, 8, 32, 0])
        assert len(exact) == len(lost) >= 1
        assert (exact[:, :3].diff(dim=1) > 0).all()
        assert (exact[:, 3] - exact[:, 2]).abs().max() < 0.1  # all weights and rank 32
        assert (lost.diff(dim=1) > 0).all()

    def test_old_text_among_the_new_keeps_what_was_known(self) -> None:
        record = runs.stored()
        for rank in (0, 8):
            apart, among = (
                {one["seed"]: one for one in record[part] if one["rank"] == rank}
                for part in ("ranks", "replay")
            )
            assert set(among) == set(apart) == {0, 1, 2}
            for seed, one in among.items():
                assert one["bits_per_byte"] < apart[seed]["bits_per_byte"] - 0.2

    def test_what_is_said_of_the_classes(self) -> None:
        ways = ["bag of words", "head", "lora", "full", "head, twin", "full, twin"]
        found = runs.accuracies(runs.stored()["classes"], ways)
        speaks, order = found["who speaks"], found["in order"]
        assert len(speaks) == len(order) >= 1
        assert (speaks[:, 0].mean() >= speaks[:, 1:].mean(0) - 0.02).all()
        assert (speaks[:, 4:].mean(0) < speaks[:, 1:4].mean(0).min()).all()
        assert abs(order[:, 0].mean() - 0.5) < 0.08
        assert (order[:, 1:4].mean(0) > order[:, [0, 4, 5]].mean(0).max()).all()
        bible = found["verse or Bible"]
        assert (bible[:, 0] >= bible[:, 1:].max(1).values - 0.005).all()  # the bag of words
        assert (bible[:, 1] > bible[:, 4] + 0.05).all()  # a head, and the twin's head
        assert bible[:, 5].mean() >= bible[:, 1:4].mean(0).max() - 0.02  # all of the twin

    def test_a_seed_that_is_not_whole_is_left_out(self) -> None:
        rows = [
            {"seed": s, "rank": r, "bits_per_byte": s + 1.0} for s in (0, 1) for r in runs.SWEPT
        ]
        assert runs.by_rank(rows[:-1], "bits_per_byte", [8, 0]).tolist() == [[1.0, 1.0]]
        part = [{"task": t, "seed": s, "accuracy": {"head": 0.5}} for s in (0, 1) for t in "ab"]
        assert runs.accuracies(part[:-1], ["head"])["a"].tolist() == [[0.5]]

    def test_the_chapter_shows_its_tables(self) -> None:
        notebook = Path(__file__).parents[2] / "book" / "23_finetuning.ipynb"
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        record = runs.stored()
        assert runs.rank_table(record) in prose
        assert runs.class_table(record) in prose
