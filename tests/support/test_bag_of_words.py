"""Logistic regression on word counts, against its own gradient and a peer."""

from __future__ import annotations

import pytest
import torch

from mini_gpt.support import bag_of_words as bag


class TestLogisticRegression:
    def test_the_gradient_is_zero_at_the_end(self) -> None:
        torch.manual_seed(0)
        x, y = torch.randn(40, 3), (torch.rand(40) < 0.4).long()
        weight, bias = bag.logistic_regression(x, y, decay=0.01)
        error = (x @ weight + bias).sigmoid() - y
        torch.testing.assert_close(x.T @ error / 40, -0.02 * weight, atol=1e-4, rtol=0)
        torch.testing.assert_close(error.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)

    def test_agrees_with_scikit_learn(self) -> None:
        linear = pytest.importorskip("sklearn.linear_model")
        torch.manual_seed(0)
        x, y = torch.randn(40, 3), (torch.rand(40) < 0.4).long()
        weight, bias = bag.logistic_regression(x, y, decay=0.01)
        theirs = linear.LogisticRegression(C=1 / (2 * 40 * 0.01)).fit(x.numpy(), y.numpy())
        torch.testing.assert_close(weight, torch.tensor(theirs.coef_[0]).float(), atol=1e-3, rtol=0)
        assert bias.item() == pytest.approx(theirs.intercept_[0], abs=1e-3)

    def test_words_that_decide_are_found_and_new_words_are_left_out(self) -> None:
        training = [(" good lord", 0), (" foul dog", 1), (" good king", 0), (" foul ass", 1)]
        assert bag.bag_of_words(training, [(" good moon", 0), (" foul moon", 1)]) == 1.0
        counts = bag.word_counts([" a b a", " c"], ["a", "b"])
        assert counts.tolist() == [[2, 1], [0, 0]]

    def test_order_is_nothing_to_it(self) -> None:
        counts = bag.word_counts([" a b c", " c a b"], ["a", "b", "c"])
        assert torch.equal(counts[0], counts[1])
