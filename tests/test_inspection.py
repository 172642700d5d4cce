"""Looking inside: what is heard adds up, what is changed is put back, and peers agree."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mini_gpt import checks, from_pretrained
from mini_gpt.gpt2 import trace
from mini_gpt.inspection import (
    ablation_costs,
    capture,
    fit_probe,
    intervene,
    logit_contributions,
    logit_lens,
    over_layers,
    patch_heads,
    patch_streams,
    replace_head,
    residual_streams,
    weight_at_distance,
)
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from shapes import shaken
from tiny import tiny_gpt

SHAPES: list[dict[str, Any]] = [
    {},
    {"position": "rotary", "width": 18, "normalization": "rms"},
    {"position": "sinusoidal", "bias": False},
    {"position": "rotary", "heads": 4, "key_value_heads": 2, "width": 16, "layers": 3},
    {"pad_vocab_to_multiple": 8, "dropout": 0.3},
]
each_shape = pytest.mark.parametrize("changes", SHAPES, ids=str)


def build(**changes: Any) -> GPT:
    """A tiny model whose every parameter is random, in training mode."""
    return shaken(tiny_gpt(**changes)).train()


def some_ids(rows: int = 3, time: int = 7, seed: int = 0, vocab_size: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab_size, (rows, time), generator=generator)


def hooks(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class TestCapture:
    @each_shape
    def test_it_changes_nothing(self, changes: dict[str, Any]) -> None:
        model = build(**changes)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        seen = capture(model, some_ids())
        assert model.training
        assert all(module.training for module in model.modules())
        assert hooks(model) == 0
        assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
        assert not any(value.requires_grad for value in seen.values())
        torch.testing.assert_close(seen["logits"], model.eval()(some_ids()))

    @each_shape
    def test_the_weights_times_the_values_are_what_the_kernel_mixed(
        self, changes: dict[str, Any]
    ) -> None:
        model = build(**changes)
        seen = capture(model, some_ids())
        for layer in range(model.config.layers):
            path = f"decoder.blocks.{layer}.attention"
            weights, value = seen[f"{path}.weights"], seen[f"{path}.value"]
            shared = model.config.heads // model.config.kv_heads
            value = value.repeat_interleave(shared, dim=1)
            torch.testing.assert_close(weights.sum(-1), torch.ones(3, model.config.heads, 7))
            assert weights.triu(1).abs().max() == 0
            mixed = (weights @ value).transpose(1, 2).flatten(2)
            torch.testing.assert_close(mixed, seen[f"{path}.mixed"], rtol=1e-4, atol=1e-6)

    @each_shape
    def test_the_stream_is_the_sum_of_what_the_parts_add(self, changes: dict[str, Any]) -> None:
        model = build(**changes)
        seen = capture(model, some_ids())
        streams = residual_streams(seen)
        assert streams.shape == (model.config.layers + 1, 3, 7, model.config.width)
        for layer, block in enumerate(model.decoder.blocks):
            path = f"decoder.blocks.{layer}"
            added = seen[f"{path}.attention.heads"].sum(1)
            if block.attention.output.bias is not None:
                added = added + block.attention.output.bias
            torch.testing.assert_close(
                added, seen[f"{path}.attention.output"], rtol=1e-4, atol=1e-6
            )
            total = streams[layer] + added + seen[f"{path}.feed_forward.contract"]
            torch.testing.assert_close(total, streams[layer + 1], rtol=1e-4, atol=1e-6)

    def test_it_has_all_that_trace_has(self) -> None:
        model = build()
        traced, seen = trace(model, some_ids()), capture(model, some_ids())
        assert all(torch.equal(seen[name], value) for name, value in traced.items())

    def test_layers_side_by_side(self) -> None:
        seen = capture(build(), some_ids())
        weights = over_layers(seen, "attention.weights")
        assert weights.shape == (2, 3, 3, 7, 7)
        assert torch.equal(weights[1], seen["decoder.blocks.1.attention.weights"])
        assert over_layers(seen, "feed_forward.expand").shape == (2, 3, 7, 48)
        for wrong in ("weights", "attention.weight", ""):
            with pytest.raises(ValueError, match="no block has a part"):
                over_layers(seen, wrong)


class TestLens:
    def test_the_last_depth_is_the_model(self) -> None:
        model = build(pad_vocab_to_multiple=8)
        seen = capture(model, some_ids())
        opinions = logit_lens(model, residual_streams(seen))
        assert opinions.shape == (3, 3, 7, 17)
        torch.testing.assert_close(opinions[-1], seen["logits"])
        first = F.layer_norm(seen["decoder.input"], (12,), *model.decoder.final_norm.parameters())
        expected = first @ model.token_embedding.weight[:17].T
        torch.testing.assert_close(opinions[0], expected)


class TestWeightAtDistance:
    def test_by_hand(self) -> None:
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(2, 3, 4, 6, 6, generator=generator)
        for distance, start in ((0, 0), (1, 0), (2, 4), (3, 1), (5, 5)):
            places = range(max(start, distance), 6)
            expected = torch.stack([weights[..., q, q - distance] for q in places]).mean((0, 2))
            found = weight_at_distance(weights, distance, start)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(weight_at_distance(weights[1], distance, start), expected[1])


class TestIntervene:
    def test_doing_nothing_changes_nothing(self) -> None:
        model = build().eval()
        expected = model(some_ids())
        names = [n for n in trace(model, some_ids()) if n not in ("ids", "logits")]
        assert "decoder.blocks.0.attention.mixed" in names
        with intervene(model, {name: lambda x: x.clone() for name in [*names, "decoder.input"]}):
            assert torch.equal(model(some_ids()), expected)

    @each_shape
    def test_a_run_with_everything_of_another_run_is_that_run(
        self, changes: dict[str, Any]
    ) -> None:
        model = build(**changes)
        seen = capture(model, some_ids(seed=1))
        for name in ("decoder.input", "decoder.blocks.0", "decoder.final_norm"):
            with intervene(model, {name: lambda _, name=name: seen[name]}):  # type: ignore[misc]
                torch.testing.assert_close(model(some_ids()), seen["logits"])

    def test_it_runs_in_evaluation_mode_and_is_put_back_after_an_error(self) -> None:
        model = build(dropout=0.5)
        found = []

        def fail(stream: Tensor) -> Tensor:
            found.append((model.training, torch.is_grad_enabled()))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), intervene(model, {"decoder": fail}):
            model(some_ids())
        assert found == [(False, False)]
        assert model.training
        assert torch.is_grad_enabled()
        assert hooks(model) == 0

    def test_an_unknown_part_leaves_no_hook(self) -> None:
        model = build()
        changes = {"decoder.blocks.0": torch.clone, "decoder.blocks.7": torch.clone}
        with (
            pytest.raises(ValueError, match=r"no part 'decoder\.blocks\.7'"),
            intervene(model, changes),
        ):
            pass
        assert hooks(model) == 0

    def test_a_silent_head_is_one_whose_output_columns_are_zero(self) -> None:
        model, ids = build().eval(), some_ids()
        with intervene(model, {"decoder.blocks.1.attention.mixed": replace_head(2, 3)}):
            found = model(ids)
        with torch.no_grad():
            model.decoder.blocks[1].attention.output.weight[:, 8:12] = 0
        torch.testing.assert_close(found, model(ids))

    def test_a_head_of_another_run_leaves_the_others(self) -> None:
        mixed, other = torch.randn(2, 2, 5, 12, generator=torch.Generator().manual_seed(0))
        given = mixed.clone()
        found = replace_head(1, 3, other)(given)
        assert torch.equal(given, mixed)
        assert torch.equal(found[..., 4:8], other[..., 4:8])
        assert torch.equal(found[..., :4], mixed[..., :4])
        assert torch.equal(found[..., 8:], mixed[..., 8:])


class TestAblation:
    def test_the_cost_is_the_rise_of_the_loss(self) -> None:
        model, ids = build().eval(), some_ids()
        costs = ablation_costs(model, ids)
        assert costs.shape == (2, 3)
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        with torch.no_grad():
            model.decoder.blocks[0].attention.output.weight[:, :4] = 0
        silent = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        torch.testing.assert_close(costs[0, 0], silent - loss)


class TestPatching:
    def measure(self, logits: Tensor) -> Tensor:
        return (logits[:, -1, 3] - logits[:, -1, 5]).mean()

    def test_what_must_be_0_and_1(self) -> None:
        model = build()
        clean, damaged = some_ids(), some_ids()
        damaged[:, 2] = (clean[:, 2] + 1) % 17
        shares = patch_streams(model, clean, damaged, self.measure)
        assert shares.shape == (3, 7)
        others = [place for place in range(7) if place != 2]
        torch.testing.assert_close(shares[0, 2], torch.tensor(1.0))
        torch.testing.assert_close(shares[0, others], torch.zeros(6), rtol=0, atol=1e-5)
        torch.testing.assert_close(shares[:, :2], torch.zeros(3, 2), rtol=0, atol=1e-5)
        torch.testing.assert_close(shares[2, 6], torch.tensor(1.0))
        torch.testing.assert_close(shares[2, :6], torch.zeros(6), rtol=0, atol=1e-5)

    def test_against_a_run_written_out(self) -> None:
        model = build()
        clean, damaged = some_ids(1), some_ids(1)
        damaged[:, 4] = (clean[:, 4] + 3) % 17
        model.eval()
        one, other = capture(model, clean), capture(model, damaged)
        stream = other["decoder.blocks.0"].clone()
        stream[:, 5] = one["decoder.blocks.0"][:, 5]
        with torch.no_grad():
            rest = model.decoder.final_norm(model.decoder.blocks[1](stream))
            patched = self.measure(model.token_embedding.logits(rest))
        ends = self.measure(other["logits"]), self.measure(one["logits"])
        expected = (patched - ends[0]) / (ends[1] - ends[0])
        found = patch_streams(model, clean, damaged, self.measure)[1, 5]
        torch.testing.assert_close(found, expected)

    def test_heads(self) -> None:
        model = build(layers=1)
        clean, damaged = some_ids(1), some_ids(1)
        damaged[:, -1] = (clean[:, -1] + 3) % 17
        model.eval()
        shares = patch_heads(model, clean, damaged, self.measure)
        assert shares.shape == (1, 3)
        name = "decoder.blocks.0.attention.mixed"
        seen, other = capture(model, clean), capture(model, damaged)
        mixed = other[name].clone()
        mixed[..., 4:8] = seen[name][..., 4:8]
        with intervene(model, {name: lambda _: mixed}):
            patched = self.measure(model(damaged))
        ends = self.measure(other["logits"]), self.measure(seen["logits"])
        torch.testing.assert_close(shares[0, 1], (patched - ends[0]) / (ends[1] - ends[0]))


class TestContributions:
    @each_shape
    def test_they_sum_to_the_logit(self, changes: dict[str, Any]) -> None:
        model = build(**changes)
        seen = capture(model, some_ids())
        table = model.token_embedding.weight.detach()
        for direction, expected in (
            (table[4], seen["logits"][..., 4]),
            (table[4] - table[9], seen["logits"][..., 4] - seen["logits"][..., 9]),
        ):
            terms = logit_contributions(model, seen, direction)
            total = torch.stack(list(terms.values())).sum(0)
            torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)
        assert "layer 2, head 3" in terms
        assert ("final bias" in terms) == (model.decoder.final_norm.bias is not None
            if hasattr(model.decoder.final_norm, "bias") else False)  # fmt: skip


class TestProbe:
    def test_it_reads_what_a_direction_says(self) -> None:
        generator = torch.Generator().manual_seed(0)
        vectors = 3 + 2 * torch.randn(400, 6, generator=generator)
        labels = (vectors[:, 1] - vectors[:, 4] > 0).long() + (vectors[:, 1] > 5).long()
        probe = fit_probe(vectors[:300], labels[:300])
        assert not probe.weight.requires_grad
        assert (probe(vectors[300:]).argmax(-1) == labels[300:]).float().mean() > 0.8

    def test_it_is_ridge_regression(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(50, 4, generator=generator, dtype=torch.double)
        labels = torch.randint(3, (50,), generator=generator)
        probe = fit_probe(x, labels, penalty=1e-9).double()
        design = torch.cat([x, torch.ones(50, 1, dtype=torch.double)], 1)
        solved = torch.linalg.lstsq(design, F.one_hot(labels).double()).solution
        torch.testing.assert_close(probe(x), design @ solved, rtol=1e-3, atol=1e-3)

    def test_a_penalty_without_end_leaves_the_shares(self) -> None:
        vectors, labels = torch.randn(40, 5), torch.arange(40) % 4 % 3
        probe = fit_probe(vectors, labels, penalty=1e9)
        shares = torch.bincount(labels) / 40
        torch.testing.assert_close(probe(vectors), shares.expand(40, 3), rtol=0, atol=1e-4)


class TestShippedModel:
    """What the chapter says of it, on another line than the chapter's."""

    @pytest.mark.slow
    def test_layer_3_head_3_carries_the_pronoun(self) -> None:
        model, tokenizer = from_pretrained("shakespeare")
        clean, damaged = (
            torch.tensor([tokenizer.encode(f"I say that {who}, my sweet friend,")])
            for who in ("thou", "you")
        )
        art, are = tokenizer.encode(" art")[0], tokenizer.encode(" are")[0]
        shares = patch_heads(model, clean, damaged, lambda x: x[0, -1, art] - x[0, -1, are])
        assert shares.argmax() == 10
        assert shares[2, 2] > 0.5


def peer_of(model: GPT, lens: Any) -> Any:
    """The same model as a `HookedTransformer`."""
    c, ours = model.config, model.state_dict()
    rotary = c.position == "rotary"
    config = lens.HookedTransformerConfig(
        n_layers=c.layers, d_model=c.width, n_ctx=c.context_length, d_head=c.head_width,
        n_heads=c.heads, d_mlp=c.feed_forward_width, d_vocab=c.vocab_size,
        act_fn="gelu_new", eps=c.norm_epsilon, normalization_type="LN", device="cpu",
        positional_embedding_type="rotary" if rotary else "standard",
        rotary_dim=c.head_width if rotary else None, rotary_adjacent_pairs=rotary,
        init_weights=False,
    )  # fmt: skip
    peer = lens.HookedTransformer(config)
    table = ours["token_embedding.weight"]
    theirs = {
        "embed.W_E": table,
        "unembed.W_U": table.T,
        "unembed.b_U": torch.zeros(c.vocab_size),
        "ln_final.w": ours["decoder.final_norm.weight"],
        "ln_final.b": ours["decoder.final_norm.bias"],
    }
    if not rotary:
        theirs["pos_embed.W_pos"] = ours["positions.weight"]
    for layer in range(c.layers):
        part = {
            name.removeprefix(f"decoder.blocks.{layer}."): value
            for name, value in ours.items()
            if name.startswith(f"decoder.blocks.{layer}.")
        }
        to = f"blocks.{layer}."
        for short, norm in (("ln1", "attention_norm"), ("ln2", "feed_forward_norm")):
            theirs[f"{to}{short}.w"] = part[f"{norm}.weight"]
            theirs[f"{to}{short}.b"] = part[f"{norm}.bias"]
        weights = part["attention.query_key_value.weight"].view(3, c.heads, -1, c.width)
        biases = part["attention.query_key_value.bias"].view(3, c.heads, -1)
        for letter, weight, bias in zip("QKV", weights, biases, strict=True):
            theirs[f"{to}attn.W_{letter}"] = weight.mT
            theirs[f"{to}attn.b_{letter}"] = bias
        output = part["attention.output.weight"].T.reshape(c.heads, -1, c.width)
        theirs[f"{to}attn.W_O"], theirs[f"{to}attn.b_O"] = output, part["attention.output.bias"]
        for short, name in (("in", "expand"), ("out", "contract")):
            theirs[f"{to}mlp.W_{short}"] = part[f"feed_forward.{name}.weight"].T
            theirs[f"{to}mlp.b_{short}"] = part[f"feed_forward.{name}.bias"]
    peer.load_state_dict(theirs, strict=False)
    return peer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", ["shipped", "learned positions"])
def test_as_transformer_lens(which: str) -> None:
    """Every activation that both have. Version 4 has no `HookedTransformer` any more."""
    lens = pytest.importorskip("transformer_lens")
    if not hasattr(lens, "HookedTransformer"):
        pytest.skip("this TransformerLens has no HookedTransformer; install one below 4")
    model = from_pretrained("shakespeare")[0] if which == "shipped" else build().eval()
    ids = some_ids(2, min(model.config.context_length, 60), vocab_size=model.config.vocab_size)
    peer = peer_of(model, lens)
    peer.set_use_attn_result(True)
    logits, cache = peer.run_with_cache(ids)
    seen = capture(model, ids)
    near = {"rtol": 1e-3, "atol": 1e-4}
    torch.testing.assert_close(seen["logits"], logits, **near)
    for layer in range(model.config.layers):
        path, theirs = f"decoder.blocks.{layer}.attention", f"blocks.{layer}."
        stream = cache[f"{theirs}hook_resid_pre"]
        torch.testing.assert_close(residual_streams(seen)[layer], stream, **near)
        weights = cache[f"{theirs}attn.hook_pattern"]
        torch.testing.assert_close(seen[f"{path}.weights"], weights, **near)
        result = cache[f"{theirs}attn.hook_result"].transpose(1, 2)
        torch.testing.assert_close(seen[f"{path}.heads"], result, **near)
        value = cache[f"{theirs}attn.hook_v"].transpose(1, 2)
        torch.testing.assert_close(seen[f"{path}.value"], value, **near)
    parts, _ = cache.get_full_resid_decomposition(expand_neurons=False, return_labels=True)
    assert len(parts) > 0
    direction = model.token_embedding.weight[3].detach()
    terms = logit_contributions(model, seen, direction)
    scale = cache["ln_final.hook_scale"].squeeze(-1)
    head = cache["blocks.1.attn.hook_result"][:, :, 2]
    centered = head - head.mean(-1, keepdim=True)
    expected = centered @ (direction * model.decoder.final_norm.weight.detach()) / scale
    torch.testing.assert_close(terms["layer 2, head 3"], expected, **near)


class TestChecks:
    """Wrong answers that come to mind are named."""

    def said(self, capsys: pytest.CaptureFixture[str]) -> str:
        """The verdict and the hint."""
        checks.hint()
        return capsys.readouterr().out

    def test_places(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.inspection.places(lambda w: -(w * w.log()).sum(-1).exp())
        assert "0 times ln 0" in self.said(capsys)
        checks.inspection.places(lambda w: torch.special.entr(w).sum(-1))
        assert "what undoes a logarithm" in self.said(capsys)
        checks.inspection.places(lambda w: (w > 0).sum(-1).float())
        assert "not yet" in self.said(capsys)

    def test_mean_ablated(self, capsys: pytest.CaptureFixture[str]) -> None:
        def over_time_only(mixed: Tensor, head: int, heads: int) -> Tensor:
            result = mixed.unflatten(-1, (heads, -1)).clone()
            result[:, :, head] = result[:, :, head].mean(1, keepdim=True)
            return result.flatten(2)

        checks.inspection.mean_ablated(over_time_only)
        assert "over texts and positions" in self.said(capsys)
        checks.inspection.mean_ablated(lambda mixed, head, heads: mixed)
        assert "one mean for each" in self.said(capsys)

    def test_copy_weights(self, capsys: pytest.CaptureFixture[str]) -> None:
        def same_token(ids: Tensor, vocab_size: int) -> Tensor:
            one = F.one_hot(ids, vocab_size).float()
            scores = 20 * one @ one.T
            return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(-1)

        checks.inspection.copy_weights(same_token)
        assert "the token before" in self.said(capsys)
        checks.inspection.copy_weights(
            lambda ids, size: torch.full((len(ids), len(ids)), 1 / len(ids))
        )
        assert "mask before the softmax" in self.said(capsys)

    def test_estimate(self, capsys: pytest.CaptureFixture[str]) -> None:
        def at_clean(measure: Any, clean: Tensor, damaged: Tensor) -> Tensor:
            point = clean.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(measure(point), point)
            return ((clean - damaged) * gradient).sum(-1)

        checks.inspection.estimate(at_clean)
        assert "taken at the damaged stream" in self.said(capsys)
