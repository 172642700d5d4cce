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


class TestLogisticRegression:
    def test_the_gradient_is_zero_at_the_end(self) -> None:
        torch.manual_seed(0)
        x, y = torch.randn(40, 3), (torch.rand(40) < 0.4).long()
        weight, bias = runs.logistic_regression(x, y, decay=0.01)
        error = (x @ weight + bias).sigmoid() - y
        torch.testing.assert_close(x.T @ error / 40, -0.02 * weight, atol=1e-4, rtol=0)
        torch.testing.assert_close(error.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)

    def test_agrees_with_scikit_learn(self) -> None:
        linear = pytest.importorskip("sklearn.linear_model")
        torch.manual_seed(0)
        x, y = torch.randn(40, 3), (torch.rand(40) < 0.4).long()
        weight, bias = runs.logistic_regression(x, y, decay=0.01)
        theirs = linear.LogisticRegression(C=1 / (2 * 40 * 0.01)).fit(x.numpy(), y.numpy())
        torch.testing.assert_close(weight, torch.tensor(theirs.coef_[0]).float(), atol=1e-3, rtol=0)
        assert bias.item() == pytest.approx(theirs.intercept_[0], abs=1e-3)

    def test_words_that_decide_are_found_and_new_words_are_left_out(self) -> None:
        training = [(" good lord", 0), (" foul dog", 1), (" good king", 0), (" foul ass", 1)]
        assert runs.bag_of_words(training, [(" good moon", 0), (" foul moon", 1)]) == 1.0
        counts = runs.word_counts([" a b a", " c"], ["a", "b"])
        assert counts.tolist() == [[2, 1], [0, 0]]

    def test_order_is_nothing_to_it(self) -> None:
        counts = runs.word_counts([" a b c", " c a b"], ["a", "b", "c"])
        assert torch.equal(counts[0], counts[1])


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

    def test_what_is_said_of_the_classes(self) -> None:
        ways = ["bag of words", "head", "lora", "full", "head, twin", "full, twin"]
        found = runs.accuracies(runs.stored()["classes"], ways)
        speaks, order = found["who speaks"], found["in order"]
        assert len(speaks) == len(order) >= 1
        assert (speaks[:, 0].mean() >= speaks[:, 1:].mean(0) - 0.02).all()
        assert (speaks[:, 4:].mean(0) < speaks[:, 1:4].mean(0).min()).all()
        assert abs(order[:, 0].mean() - 0.5) < 0.08
        assert (order[:, 1:4].mean(0) > order[:, [0, 4, 5]].mean(0).max()).all()

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
