"""What learning from rewards does, over three seeds: sorting, then verse of ten syllables.

    python -m bench reinforcement                       all runs, some ten minutes on one core
    python -m bench reinforcement --only verse          these only, into the results there are
    python -m bench reinforcement --quick --out FOLDER  minuscule sizes, to see that it runs

Sorting begins with models that have seen few right answers. They learn from rewards in several ways
that differ in one thing each: without a baseline, with one, with advantages in groups; then with
four updates from the same answers, with and without ratio and clip; and from pairs by DPO. The runs
on verse begin with the model that comes with the package, which is rewarded for lines of ten
syllables, with and without a price on moving away from where it began.

Everything is drawn from seeds, on one thread: the same machine gives the same numbers again.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from itertools import islice
from typing import Any

import torch

from bench import harness
from mini_gpt.model import GPT
from mini_gpt.reinforcement import (
    GRPOConfig,
    dpo_loss,
    learn_from_rewards,
    pass_at_k,
    preference_pairs,
    reinforce_loss,
    sample_groups,
    token_log_probs,
)
from mini_gpt.sampling import SampleConfig
from mini_gpt.support import sorting
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.syllables import syllables, ten_syllables

SEEDS = (0, 1, 2)
VERSE = ("ten", "covered", "different", "words", "distance", "surprisal")
KS = (1, 2, 4, 8, 16, 32, 64)
ANSWER = SampleConfig(temperature=1.0, max_new_tokens=sorting.DIGITS)
LINE = SampleConfig(temperature=1.0, max_new_tokens=24, stop=("\n",))
PROMPT = "HAMLET.\n"
WAYS: dict[str, dict[str, Any]] = {
    "no baseline": {"steps": 100, "baseline": False},
    "baseline": {"steps": 100, "baseline": True},
    "groups": {"steps": 300},
    "4 updates, no ratio": {"steps": 100, "updates": 4, "ratio": False, "clip": None},
    "4 updates, ratio": {"steps": 100, "updates": 4, "clip": None},
    "4 updates, ratio and clip": {"steps": 100, "updates": 4},
}
BETAS = {"DPO, beta 0.1": 0.1, "DPO, beta 1": 1.0}
PRICES = {"free": 0.0, "KL 0.1": 0.1}


def sampled(model: GPT, quick: bool) -> dict[str, Any]:
    """pass@k, the likeliest answer, and the most frequent one, on the same fresh questions."""
    questions, answers = (4, 64) if quick else (64, 64)
    prompts = sorting.draw_prompts(questions, torch.Generator().manual_seed(777))
    seeded = SampleConfig(temperature=1.0, max_new_tokens=sorting.DIGITS, seed=10**6)
    many = sample_groups(model, sorting.TOKENIZER, prompts, answers, seeded)
    right = many.rewards(sorting.is_right).sum(1).int().tolist()
    chosen = [
        Counter(many.texts[first : first + 16]).most_common(1)[0][0]
        for first in range(0, len(many.texts), answers)
    ]
    pairs = zip(prompts, chosen, strict=True)
    return {
        "pass@k": [round(sum(pass_at_k(answers, c, k) for c in right) / questions, 4) for k in KS],
        "greedy": round(sorting.greedy_score(model, prompts), 4),
        "majority of 16": round(sum(sorting.is_right(*pair) for pair in pairs) / questions, 4),
    }


def windows(rewards: list[float], every: int) -> list[float]:
    """Means of so many steps each."""
    starts = range(0, len(rewards), every)
    return [round(sum(rewards[s : s + every]) / len(rewards[s : s + every]), 4) for s in starts]


def plain(model: GPT, seed: int, baseline: bool, steps: int) -> list[float]:
    """REINFORCE as the page has it; the rewards of its steps."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.99), weight_decay=0.0)
    generator, rewards = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        prompts = sorting.draw_prompts(128, generator)
        seeded = SampleConfig(temperature=1.0, max_new_tokens=6, seed=1000 * step + 10**9 * seed)
        drawn = sample_groups(model, sorting.TOKENIZER, prompts, 1, seeded)
        reward = drawn.rewards(sorting.is_right).flatten()
        advantages = reward - reward.mean() if baseline else reward
        loss = reinforce_loss(token_log_probs(model, drawn.ids), drawn.mask, advantages)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rewards.append(reward.mean().item())
    return rewards


def sort_one(way: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """A run on sorting: its rewards, in means of five steps, and what came of it."""
    settings = dict(WAYS[way])
    steps = 2 if quick else settings.pop("steps")
    settings.pop("steps", None)
    model = sorting.half_trained(seed, 5 if quick else 60)
    result: dict[str, Any] = {"seed": seed, "before": sampled(model, quick)}
    if "baseline" in settings:
        rewards = plain(model, seed, settings["baseline"], steps)
    else:
        sampling = SampleConfig(temperature=1.0, max_new_tokens=sorting.DIGITS, seed=seed)
        config = GRPOConfig(**settings, sampling=sampling)
        task = sorting.TOKENIZER, sorting.draw_prompts, sorting.is_right
        learning = learn_from_rewards(model, *task, config)
        rewards = [found.mean().item() for _, found in islice(learning, steps)]
    return result | {"rewards": windows(rewards, 5), "after": sampled(model, quick)}


def prefer_one(kind: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """DPO on pairs that the half-trained model wrote and the verifier ranked."""
    model = sorting.half_trained(seed)
    reference = copy.deepcopy(model)
    result: dict[str, Any] = {"seed": seed, "before": sampled(model, quick)}
    generator = torch.Generator().manual_seed(seed)
    prompts = sorting.draw_prompts(64 if quick else 1024, generator)
    seeded = SampleConfig(temperature=1.0, max_new_tokens=6, seed=10**9 * (seed + 1))
    drawn = sample_groups(model, sorting.TOKENIZER, prompts, 8, seeded)
    better, worse = preference_pairs(drawn.rewards(sorting.is_right))
    with torch.no_grad():
        start = (token_log_probs(reference, drawn.ids) * drawn.mask).sum(-1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, (0.9, 0.99), weight_decay=0.0)
    moved = []
    for _ in range(2 if quick else 200):
        some = torch.randint(len(better), (64,), generator=generator)
        up, down = better[some], worse[some]
        ids, mask = drawn.ids[torch.cat([up, down])], drawn.mask[torch.cat([up, down])]
        now = (token_log_probs(model, ids) * mask).sum(-1)
        loss = dpo_loss(now[:64], now[64:], start[up], start[down], BETAS[kind])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        moved.append([(now[:64] - start[up]).mean().item(), (now[64:] - start[down]).mean().item()])
    last = torch.tensor(moved[-10:]).mean(0)
    return result | {
        "pairs": len(better),
        "chosen moved": round(last[0].item(), 2),
        "rejected moved": round(last[1].item(), 2),
        "after": sampled(model, quick),
    }


def look(model: GPT, reference: GPT, tokenizer: Any, lines: int) -> dict[str, Any]:
    """What a model's lines are like, 128 of them, with the same darts each time."""
    seeded = SampleConfig(temperature=1.0, max_new_tokens=24, stop=("\n",), seed=10**6)
    drawn = sample_groups(model, tokenizer, [PROMPT], lines, seeded)
    with torch.no_grad():
        own, other = (token_log_probs(m, drawn.ids) * drawn.mask for m in (model, reference))
    judged = [counts for text in drawn.texts if (counts := syllables(text))]
    words = [word for text in drawn.texts for word in text.lower().split()]
    return {
        "ten": round(sum(ten_syllables(PROMPT, text) for text in drawn.texts) / lines, 3),
        "covered": round(len(judged) / lines, 3),
        "different": round(len(set(drawn.texts)) / lines, 3),
        "words": len(set(words)),
        "distance": round((own - other).sum(-1).mean().item(), 1),
        "surprisal": round((-other.sum() / drawn.mask.sum()).item(), 2),
        "samples": drawn.texts[:10],
    }


def verse_one(price: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """A run on verse: the rewards of its steps, and its lines before and after."""
    model, tokenizer = from_pretrained("shakespeare")
    reference = copy.deepcopy(model)
    lines = 8 if quick else 128
    before = look(model, reference, tokenizer, lines)
    config = GRPOConfig(
        prompts=1,
        group_size=8 if quick else 64,
        learning_rate=3e-4,
        kl=PRICES[price],
        sampling=SampleConfig(temperature=1.0, max_new_tokens=24, stop=("\n",), seed=seed),
    )
    learning = learn_from_rewards(
        model, tokenizer, lambda count, _: [PROMPT] * count, ten_syllables, config
    )
    steps = 2 if quick else 60
    rewards = [found.mean().item() for _, found in islice(learning, steps)]
    after = look(model, reference, tokenizer, lines)
    return {"seed": seed, "rewards": windows(rewards, 2), "before": before, "after": after}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each run."""
    rows = []
    for name, runs in results.items():
        for run in sorted(runs, key=lambda run: run["seed"]):
            before, after = run["before"], run["after"]
            if "ten" in before:
                cells = [f"{x['ten']:.2f}, {x['different']:.2f}" for x in (before, after)]
            else:
                ends = [(x["pass@k"][0], x["pass@k"][-1]) for x in (before, after)]
                cells = [f"{first:.2f}, {last:.2f}" for first, last in ends]
            rows.append([name, str(run["seed"]), *cells])
    first, second = "pass@1, pass@64 before", "after"
    return harness.table(["run", "seed", f"{first} (verse: ten, different)", second], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", help="kinds of run, or sorting, dpo, verse")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="one run of each")
    options = parser.parse_args(arguments)
    harness.prepare(options)
    torch.set_num_threads(options.threads or 1)
    stored = harness.stored_runs("reinforcement", options.out)
    jobs: list[tuple[str, str, Any]] = [(way, "sorting", sort_one) for way in WAYS]
    jobs += [(kind, "dpo", prefer_one) for kind in BETAS]
    jobs += [(price, "verse", verse_one) for price in PRICES]
    for name, kind, one in jobs:
        if options.only and not {name, kind} & set(options.only):
            continue
        for seed in options.seeds:
            run = one(name, seed, options.quick)
            kept = [other for other in stored.get(name, []) if other["seed"] != seed]
            stored[name] = sorted([*kept, run], key=lambda run: run["seed"])
            print(
                name, seed, {key: run["after"][key] for key in list(run["after"])[:3]}, flush=True
            )
            harness.save("reinforcement", {"runs": stored}, table(stored), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
