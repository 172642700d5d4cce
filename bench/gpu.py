"""What a graphics card makes of it: training steps, Muon, a recipe's end, and writing.

    python -m bench gpu --corpus FILE          all parts, in at most eight minutes: gpu.json, gpu.md
    python -m bench gpu --only writing step    these parts only, into the results there are
    python -m bench gpu --tiny --out FOLDER    minuscule sizes, on a CPU too, to see that it runs

It runs from a plain checkout, needs no network, and prints each result as soon as it has it. A
peer that is not installed is left out, and so is the recipe where no corpus is given; what did not
fit the time is named. Compiling is timed apart. Bounds come from two measurements of the same card:
how fast it multiplies large bfloat16 matrices, and how fast it copies memory.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.data import train_val_split
from mini_gpt.diagnostics import count_parameters, flops_per_token
from mini_gpt.generation import InferenceSession
from mini_gpt.loss import evaluate, linear_cross_entropy, next_token_loss
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig, choose_tokens
from mini_gpt.support.device import autocast, device_peak
from mini_gpt.support.recording import Recorder, StepWriter, compiled_step, write_ahead
from mini_gpt.support.settings_file import read_settings
from mini_gpt.trainer import Stepper, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
GPT2 = GPTConfig(pad_vocab_to_multiple=128)
SMALL = GPTConfig(65, 256, 6, 6, 384, position="rotary", dropout=0.25)
TINY = GPTConfig(17, 16, 2, 2, 8, pad_vocab_to_multiple=8)
# nanoGPT's published loss on tiny Shakespeare; its 57 s are those of the run on one H200.
TARGET = 1.4697
RECIPE = TrainConfig(
    steps=1000,
    batch_size=64,
    optimizer="muon",
    learning_rate=1e-2,
    muon_learning_rate=2e-2,
    min_lr=0.0,
    schedule="wsd",
    warmup_steps=50,
    decay_steps=700,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.99,
)
Result = dict[str, Any]


@dataclass
class Bench:
    """What every part is given.

    Attributes:
        tiny: Whether all sizes are minuscule, on the CPU if there is no card.
        corpus: A text file, or None.
        deadline: When to stop, by the clock of `time.monotonic`.
        left_out: What was not measured, and why.
    """

    device: torch.device
    tiny: bool
    corpus: Path | None
    deadline: float
    left_out: list[str] = field(default_factory=list)

    @property
    def precision(self) -> Literal["bfloat16"]:
        return "bfloat16"

    def wait(self) -> None:
        """Until the card has done all that was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], repeats: int, warm_up: int = 2) -> float:
        """Seconds that one run takes, of several in a row."""
        for _ in range(warm_up):
            run()
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def has_time(self, what: str, seconds: float) -> bool:
        """Whether something that takes about so long can still be done; else it is named."""
        if time.monotonic() + (0 if self.tiny else seconds) < self.deadline:
            return True
        self.left_out.append(f"{what}: no time left")
        return False

    def has(self, package: str, what: str) -> bool:
        """Whether a peer is installed; else it is named."""
        if importlib.util.find_spec(package) is not None:
            return True
        self.left_out.append(f"{what}: {package} is not installed")
        return False


def measured_card(bench: Bench) -> Iterator[Result]:
    """How fast it multiplies, and how fast it copies: what bounds all that follows."""
    size = 64 if bench.tiny else 8192
    left, right = torch.randn(2, size, size, device=bench.device, dtype=torch.bfloat16)
    seconds = bench.seconds(lambda: left @ right, 3 if bench.tiny else 30)
    yield {"name": "product", "teraflops": 2 * size**3 / seconds / 1e12}
    numbers = torch.ones(2**14 if bench.tiny else 2**28, device=bench.device)
    copy = torch.empty_like(numbers)
    seconds = bench.seconds(lambda: copy.copy_(numbers), 3 if bench.tiny else 20)
    yield {"name": "memory", "gigabytes_per_second": 2 * 4 * len(numbers) / seconds / 1e9}


def gpu_tests(bench: Bench) -> Iterator[Result]:
    """The tests that need a card."""
    if bench.tiny or not bench.has("pytest", "the tests"):
        return
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    last = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[-1]
    yield {
        "name": "pytest tests/gpu",
        "passed": done.returncode == 0,
        "said": last,
        "seconds": time.perf_counter() - start,
    }


def losses(bench: Bench) -> Iterator[Result]:
    """The head and the loss of the 124M step, forward and backward, whole and in parts."""
    config, rows = (TINY, 2) if bench.tiny else (GPT2, 32)
    time_, size = config.context_length, config.vocab_size
    place = bench.device
    stream = torch.randn(rows, time_, config.width, device=place, requires_grad=True)
    table = torch.randn(config.padded_vocab_size, config.width, device=place, requires_grad=True)
    targets = torch.randint(size, (rows, time_), device=place)

    def whole(stream: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        return next_token_loss(F.linear(stream, table)[..., :size], targets, "sum")

    def parted(at_once: int) -> Callable[..., Tensor]:
        return lambda s, t, y: linear_cross_entropy(s, t, y, size, at_once=at_once)

    ways: dict[str, Callable[..., Tensor]] = {"whole": whole}
    for power in (5, 6) if bench.tiny else (27, 28, 29, 30):
        ways[f"in parts of 2^{power} logits"] = parted(2**power)
    for name, loss in ways.items():
        if not bench.has_time(f"loss, {name}", 20):
            return
        run = loss if bench.tiny else torch.compile(loss, dynamic=False)

        def step(run: Callable[..., Tensor] = run) -> None:
            stream.grad = table.grad = None
            with autocast(place, bench.precision):
                total = run(stream, table, targets)
            (total / targets.numel()).backward()

        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        step()
        bench.wait()
        first = time.perf_counter() - start
        seconds = bench.seconds(step, 2 if bench.tiny else 10)
        yield {"name": name, "ms": 1e3 * seconds, "first_seconds": first, **memory(bench)}


def memory(bench: Bench) -> Result:
    """The most memory that was taken since it was last asked to begin."""
    if bench.device.type != "cuda":
        return {}
    return {"peak_gigabytes": torch.cuda.max_memory_allocated() / 2**30}


def one_step(bench: Bench, name: str, config: GPTConfig, training: TrainConfig) -> Result:
    """A training step of ours: how long, and what share of the card it makes use of."""
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(config.vocab_size, size=2**20)
    device = bench.device.type
    training = replace(training, device=device, precision=bench.precision)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    stepper = Stepper(GPT(config), tokens, training)
    start = time.perf_counter()
    stepper.step()
    bench.wait()
    first = time.perf_counter() - start
    seconds = bench.seconds(stepper.step, 2 if bench.tiny else 20, warm_up=1 if bench.tiny else 5)
    tokens_a_step = training.batch_size * config.context_length
    return step_result(bench, name, config, tokens_a_step, seconds, first)


def step_result(
    bench: Bench, name: str, config: GPTConfig, tokens: int, seconds: float, first: float
) -> Result:
    """What is said of a training step, of whoever's."""
    flops = tokens * flops_per_token(config)
    result = {
        "name": name,
        "ms": 1e3 * seconds,
        "tokens_per_second": tokens / seconds,
        "teraflops": flops / seconds / 1e12,
        "first_seconds": first,
        **memory(bench),
    }
    if (peak := device_peak(bench.device, bench.precision)) is not None:
        result["share_of_peak"] = flops / seconds / peak
    return result


def transformers_step(bench: Bench, config: GPTConfig, rows: int) -> Result:
    """The same step by transformers, its loss compiled with it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.padded_vocab_size,
            n_positions=config.context_length,
            n_layer=config.layers,
            n_head=config.heads,
            n_embd=config.width,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    nn.Module.to(theirs, bench.device)  # the annotation of theirs hides its own
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(config.vocab_size, (rows, config.context_length + 1), device=bench.device)

    def loss(ids: Tensor) -> Tensor:
        logits = theirs(ids[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    run = loss if bench.tiny else torch.compile(loss)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(bench.device, bench.precision):
            found = run(ids)
        found.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()

    start = time.perf_counter()
    step()
    bench.wait()
    first = time.perf_counter() - start
    seconds = bench.seconds(step, 2 if bench.tiny else 20, warm_up=1 if bench.tiny else 5)
    tokens = rows * config.context_length
    return step_result(bench, "transformers, AdamW", config, tokens, seconds, first)


def steps(bench: Bench) -> Iterator[Result]:
    """The step of GPT-2's smallest model, 32 sequences of 1,024 tokens."""
    config, rows = (TINY, 2) if bench.tiny else (GPT2, 32)
    training = TrainConfig(batch_size=rows, compile=not bench.tiny)
    ways: list[tuple[Literal["adamw", "muon"], bool]]
    ways = [("adamw", False), ("muon", False), ("adamw", True)]
    for optimizer, graphs in ways:
        name = f"mini_gpt, {optimizer}{', recorded' * graphs}"
        if bench.has_time(name, 60):
            how = replace(training, optimizer=optimizer, cuda_graphs=graphs)
            yield one_step(bench, name, config, how)
    if bench.has("transformers", "its step") and bench.has_time("transformers' step", 60):
        yield transformers_step(bench, config, rows)


def small_steps(bench: Bench) -> Iterator[Result]:
    """The step of 6 layers of width 384, 64 sequences of 256 characters."""
    config, rows = (TINY, 2) if bench.tiny else (SMALL, 64)
    training = TrainConfig(batch_size=rows, compile=not bench.tiny)
    for optimizer in ("adamw", "muon"):
        for graphs in (False, True):
            name = f"mini_gpt, {optimizer}{', recorded' * graphs}"
            if bench.has_time(name, 30):
                how: Any = {"optimizer": optimizer, "cuda_graphs": graphs}
                yield one_step(bench, name, config, replace(training, **how))


def recipe(bench: Bench) -> Iterator[Result]:
    """From nothing to nanoGPT's loss, and to the end; the loss is that of the whole split."""
    if bench.corpus is None:
        bench.left_out.append("the recipe: give the corpus as --corpus FILE")
        return
    text = bench.corpus.read_text(encoding="utf-8")[: 3000 if bench.tiny else None]
    tokenizer = CharTokenizer.train(text)
    ids = np.array(tokenizer.encode(text))
    training, validation = train_val_split(ids)
    shape = replace(TINY if bench.tiny else SMALL, vocab_size=tokenizer.vocab_size)
    how = replace(RECIPE, device=bench.device.type, precision=bench.precision)
    how = replace(how, compile=not bench.tiny, steps=6 if bench.tiny else RECIPE.steps)
    for graphs in (False, True):
        name = f"recipe{', recorded' * graphs}"
        if bench.has_time(name, 60):
            yield trained(
                bench, name, shape, replace(how, cuda_graphs=graphs), training, validation
            )


def trained(
    bench: Bench,
    name: str,
    shape: GPTConfig,
    how: TrainConfig,
    training: np.ndarray,
    validation: np.ndarray,
) -> Result:
    """One run: seconds of steps until the loss and to the end; compiling is said apart."""
    torch.manual_seed(how.seed)
    stepper = Stepper(GPT(shape), training, how)
    found: Result = {"name": name, "steps": how.steps, "target": TARGET, "best_loss": np.inf}
    seconds, every = 0.0, 2 if bench.tiny else 40
    while stepper.steps_done < how.steps:
        start = time.perf_counter()
        for _ in range(min(every, how.steps - stepper.steps_done) if stepper.steps_done else 1):
            stepper.step()
        bench.wait()
        took = time.perf_counter() - start
        if stepper.steps_done == 1:
            found["first_seconds"] = took
            continue
        seconds += took
        loss = evaluate(
            stepper.model,
            validation,
            context_length=shape.context_length,
            precision=bench.precision,
        )
        if loss < found["best_loss"]:
            found |= {"best_loss": loss, "best_step": stepper.steps_done}
        if loss <= TARGET and "seconds_to_target" not in found:
            found |= {"seconds_to_target": seconds, "steps_to_target": stepper.steps_done}
        found |= {"last_loss": loss, "seconds": seconds}
    return found


def writing(bench: Bench) -> Iterator[Result]:
    """Tokens a second of GPT-2's size in bfloat16, for 1 and 16 texts, drawn one by one."""
    config = TINY if bench.tiny else GPT2
    torch.manual_seed(0)
    model = GPT(config).eval().to(bench.device, torch.bfloat16)
    prompt, new = (2, 12) if bench.tiny else (8, 256)
    for rows in (1, 16):
        for way in ("plain", "recorded", "compiled and recorded"):
            if bench.has_time(f"writing {rows}, {way}", 40):
                yield written(bench, model, way, rows, prompt, new)
        name = f"transformers' writing {rows}"
        if bench.has("transformers", name) and bench.has_time(name, 60):
            yield transformers_writing(bench, config, rows, prompt, new)


def written(bench: Bench, model: GPT, way: str, rows: int, prompt: int, new: int) -> Result:
    """One way to write: the second time counts, what the first one took more is compiling."""
    size, given = model.config.vocab_size, list(range(prompt))
    settings = SampleConfig(temperature=1.0)

    def start() -> tuple[InferenceSession, Tensor]:
        session = InferenceSession(model)
        return session, session.feed([given] * rows)[:, 0].clone()

    def plain() -> None:
        session, logits = start()
        generators = [torch.Generator().manual_seed(row) for row in range(rows)]
        for _ in range(new - 1):
            ids = choose_tokens(logits, settings, generators)
            logits = session.feed([[id] for id in ids])[:, 0]
        choose_tokens(logits, settings, generators)

    def recorded() -> None:
        session, logits = start()
        fed = [
            (cache.keys[:, :, :prompt], cache.values[:, :, :prompt])  # type: ignore[index]
            for cache in session.caches
        ]
        last = prompt + new - 1
        writer = StepWriter(model, fed, [given] * rows, settings, range(rows), size, last)
        writer.choose(logits)
        step: Callable[[], None] = writer.step
        if way.startswith("compiled") and not bench.tiny:
            step = compiled_step(writer)
        for _ in write_ahead(writer, Recorder(step, bench.device)):
            pass

    run = plain if way == "plain" else recorded
    begin = time.perf_counter()
    run()
    bench.wait()
    first = time.perf_counter() - begin
    seconds = bench.seconds(run, 1, warm_up=0)
    return {
        "name": f"mini_gpt, {way}",
        "rows": rows,
        "tokens_per_second": rows * new / seconds,
        "first_seconds": first,
        "bytes_a_step": 2 * count_parameters(model),
    }


def transformers_writing(
    bench: Bench, config: GPTConfig, rows: int, prompt: int, new: int
) -> Result:
    """The same by transformers with its static cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context_length,
        n_layer=config.layers,
        n_head=config.heads,
        n_embd=config.width,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(settings).eval().to(bench.device, torch.bfloat16)
    ids = torch.arange(prompt, device=bench.device).expand(rows, -1).contiguous()

    def run() -> None:
        theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            do_sample=True,
            top_k=0,
            pad_token_id=0,
            cache_implementation="static",
        )

    begin = time.perf_counter()
    run()
    bench.wait()
    first = time.perf_counter() - begin
    seconds = bench.seconds(run, 1, warm_up=0)
    speed = rows * new / seconds
    return {
        "name": "transformers, static cache",
        "rows": rows,
        "tokens_per_second": speed,
        "first_seconds": first,
    }


def pretraining(bench: Bench) -> Iterator[Result]:
    """The speed of the recipe of the model that comes with the package."""
    settings = read_settings(ROOT / "tools" / "pretrain.toml")
    shape = TINY if bench.tiny else GPTConfig(**settings["model"])
    how = TrainConfig(**{**settings["training"], "compile": not bench.tiny})
    if bench.has_time("pre-training", 30):
        result = one_step(bench, "tools/pretrain.toml", shape, how)
        yield {**result, "minutes": how.steps * result["ms"] / 60_000}


PARTS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "card": measured_card,
    "step": steps,
    "writing": writing,
    "small": small_steps,
    "recipe": recipe,
    "loss": losses,
    "pretraining": pretraining,
    "tests": gpu_tests,
}


def roofline(parts: dict[str, list[Result]]) -> list[Result]:
    """What each measurement could be at most, by what the card was measured to do.

    A training step is bound by its products: their operations over the measured speed. A token is
    bound by memory: a step reads all weights once, whatever the number of rows.
    """
    card = {result["name"]: result for result in parts.get("card", [])}
    if not {"product", "memory"} <= card.keys():
        return []
    rows: list[Result] = []
    for part in ("step", "small", "pretraining"):
        for found in parts.get(part, []):
            bound = found["tokens_per_second"] * card["product"]["teraflops"] / found["teraflops"]
            rows.append(bounded(part, found, bound, "products"))
    for found in parts.get("writing", []):
        if "bytes_a_step" in found:
            speed = card["memory"]["gigabytes_per_second"] * 1e9
            bound = found["rows"] * speed / found["bytes_a_step"]
            rows.append(bounded(f"writing {found['rows']}", found, bound, "memory"))
    return rows


def bounded(part: str, found: Result, bound: float, by: str) -> Result:
    speed = found["tokens_per_second"]
    return {
        "part": part,
        "name": found["name"],
        "tokens_per_second": speed,
        "bound": bound,
        "bound_by": by,
        "share": speed / bound,
    }


def said(value: object) -> str:
    """A value for the table: three digits where it is a fraction."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(record: dict[str, Any]) -> str:
    """All results, a table for each part, and what was left out."""
    machine = record["environment"]
    lines = [
        "# On a graphics card\n",
        f"Measured on {machine['date']}: {machine['card']}, torch {machine['torch']}, "
        f"CUDA {machine['cuda']}, Python {machine['python']}.\n",
    ]
    for part, results in [*record["parts"].items(), ("roofline", record["roofline"])]:
        if not results:
            continue
        names = list(dict.fromkeys(name for result in results for name in result))
        rows = [[said(result.get(name, "-")) for name in names] for result in results]
        lines += [f"## {part}\n", harness.table([n.replace("_", " ") for n in names], rows)]
    if record["left_out"]:
        lines.append("Left out: " + "; ".join(record["left_out"]) + ".\n")
    return "\n".join(lines)


def environment(device: torch.device) -> dict[str, Any]:
    """The card, versions and the date."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no card (CPU)"
    return {
        "card": card,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def rounded(result: Result) -> Result:
    """Numbers to what a clock can tell."""
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in result.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; returns the exit status, 1 if one failed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--corpus", type=Path, help="a text file, for the recipe")
    parser.add_argument("--tiny", action="store_true", help="minuscule sizes; needs no card")
    parser.add_argument("--seconds", type=float, default=480, help="to be over by then")
    options = parser.parse_args(arguments)
    tiny, cuda = options.tiny or options.quick, torch.cuda.is_available()
    if not cuda and not tiny:
        print("gpu: there is no CUDA card here; --tiny shows that it runs", file=sys.stderr)
        return 2
    device = torch.device("cuda" if cuda else "cpu")
    bench = Bench(device, tiny, options.corpus, time.monotonic() + options.seconds)
    machine, failed = environment(device), False
    parts: dict[str, list[Result]] = {}
    path = options.out / "gpu.json"
    if path.exists() and len(options.only) < len(PARTS):
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["environment"]["card"] == machine["card"]:  # else the numbers would mix
            parts = before["parts"]
    for part in options.only:
        parts[part] = []
        try:
            for result in PARTS[part](bench):
                parts[part].append(rounded(result))
                print(f"{part}: {json.dumps(parts[part][-1])}", flush=True)
        except Exception as fault:  # a part that fails does not cost the others
            failed = True
            traceback.print_exc()
            bench.left_out.append(f"{part}: {type(fault).__name__}")
        record = {
            "environment": machine,
            "parts": {name: parts[name] for name in PARTS if name in parts},
            "roofline": [rounded(row) for row in roofline(parts)],
            "left_out": bench.left_out,
        }
        harness.save("gpu", record, table(record), options.out)
        torch.compiler.reset()
        if cuda:
            torch.cuda.empty_cache()
    print(f"\n{table(record)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
