"""The pages of the reference: what they show, and that what they say is so."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import book_api
import book_command
import book_docstrings
import book_entries
import book_promises
import book_reference
import chapters as toc
import numpy as np
import pytest
import torch
from chapters import ROOT
from safetensors import safe_open

import mini_gpt
from mini_gpt.commands.cli import COMMANDS
from mini_gpt.commands.help_texts import count_options
from mini_gpt.config import GPTConfig
from mini_gpt.finetuning import add_lora
from mini_gpt.support.adapter_file import save_adapter
from mini_gpt.support.prepare import Settings, Source, prepare_tokens
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.shard_file import SHARD_HEADER
from mini_gpt.support.token_file import TOKEN_FILE_HEADER, write_token_file
from mini_gpt.tokenizer import END_OF_TEXT, BPETokenizer
from tiny import tiny_gpt
from training_command import TEXT, quick_run, write_corpus

BOOK = ROOT / "book"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")}
CHAPTERS = toc.chapters()


def functions(source: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]


class TestDocstrings:
    DOCSTRING = """Twice a number.

    More about it.

    Args:
        number: Any number, also
            a large one.
        *rest: More.

    Its end is no argument.
    Raises:
        OSError, ValueError: if it is 3.

    Example:
        >>> double(2)
        4
    """

    def test_are_told_apart(self) -> None:
        parts = book_docstrings.documented(ast.literal_eval(repr(clean(self.DOCSTRING))))
        assert parts.text == "Twice a number.\n\nMore about it.\n\nIts end is no argument."
        assert parts.entries("Args") == {
            "number": "Any number, also a large one.",
            "*rest": "More.",
        }
        assert parts.entries("Raises") == {"OSError, ValueError": "if it is 3."}
        assert parts.sections["Example"] == ">>> double(2)\n4"

    @pytest.mark.parametrize(
        ("annotation", "said"),
        [
            ('Float[Tensor, "batch time width"]', "numbers, batch × time × width"),
            ('Int[Tensor, "*rows vocab_size"] | None', "whole numbers, any rows × vocab_size"),
            ('Bool[Tensor, "... queries #keys"]', "true or false, any axes × queries × keys"),
            ('Float[Tensor, ""]', "one number"),
            ('Int[Tensor, ""]', "one whole number"),
            ('tuple[Float[Tensor, "a b"], Float[Tensor, "a b"]]', "numbers, a × b"),
            ('Literal["a", "b"]', ""),
            ("int", ""),
        ],
    )
    def test_shapes_are_said_in_words(self, annotation: str, said: str) -> None:
        assert book_docstrings.shape(ast.parse(annotation, mode="eval").body) == said

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def f(a: int = 1) -> int:\n    return a", "f(a: int = 1) -> int"),
            ("def f(self, a: int) -> int:\n    return a", "f(a: int) -> int"),
            ("def f(self) -> int:  # so\n    return 1", "f() -> int"),
            ("def f(a): return a", "f(a)"),
            (
                "def f(\n    self,\n    a: int,\n) -> int:\n    return a",
                "f(\n    a: int,\n) -> int",
            ),
        ],
    )
    def test_a_signature_is_as_it_is_written(self, source: str, said: str) -> None:
        [node] = functions(source)
        assert book_docstrings.signature(source, node) == said


def clean(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


class TestEntries:
    @pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
    def test_every_public_name_is_explained(self, chapter: toc.Chapter) -> None:
        explained = book_api.explanations(ROOT)
        module = importlib.import_module(chapter.module)
        assert book_reference.page_of(ROOT, chapter.module)
        assert sorted(book_api.exported(ROOT, chapter.module)) == sorted(module.__all__)
        for name in module.__all__:
            made = book_entries.read(ROOT, book_reference.origin(ROOT, chapter.module, name))
            text = made.markdown(name, explained.get((chapter.module, name), ""))
            code, _, rest = text.removeprefix("```python\n").partition("\n```")
            assert name in code
            assert len(rest.split()) >= 3, f"{chapter.module}.{name}"

    def test_an_entry_has_signature_shapes_words_and_errors(self) -> None:
        text = book_entries.read(ROOT, "mini_gpt.model").markdown("GPT", "")
        assert text.startswith("```python\nclass GPT(config: GPTConfig)\n```\n\n")
        assert "GPT.forward(\n    ids: Int[Tensor" in text
        assert "| `ids` | *whole numbers, batch × time.* Token ids, from 0 to V - 1. |" in text
        assert "* **ValueError** if the ids are no batch" in text

    def test_a_record_shows_its_fields_and_a_helper_base_its_methods(self) -> None:
        config = book_entries.read(ROOT, "mini_gpt.config").markdown("GPTConfig", "")
        for field in dataclasses.fields(GPTConfig):
            assert f"    {field.name}: " in config
            assert f"| `{field.name}` |" in config
        tokenizer = book_entries.read(ROOT, "mini_gpt.tokenizer").markdown("BPETokenizer", "")
        assert "BPETokenizer.encode(" in tokenizer

    def test_what_nothing_explains_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"nothing explains mini_gpt.loss.IGNORE_INDEX"):
            book_entries.read(ROOT, "mini_gpt.loss").markdown("IGNORE_INDEX", "")

    def test_the_reference_has_all_that_the_package_hands_on(self) -> None:
        parts = {part.lower() for part in dict.fromkeys(one.part for one in CHAPTERS)}
        assert {name for name in PAGES if name.startswith("reference_")} == {
            *(f"reference_{part}" for part in parts),
            "reference_files",
        }
        for name in mini_gpt.__all__:
            module = book_reference.origin(ROOT, "mini_gpt", name)
            assert getattr(importlib.import_module(module), name) is getattr(mini_gpt, name)
            assert book_reference.page_of(ROOT, module)


class TestExamples:
    @pytest.mark.slow
    def test_the_page_of_the_package_runs_as_it_stands(self) -> None:
        found = doctest.DocTestParser().get_doctest(
            re.sub(r"^```.*$", "", PAGES["api"], flags=re.M), {}, "api.md", None, 0
        )
        assert len(found.examples) >= 30
        said: list[str] = []
        failed = doctest.DocTestRunner(verbose=False).run(found, out=said.append).failed
        assert not failed, "".join(said)

    def test_the_page_uses_a_dozen_names_that_users_call_first(self) -> None:
        used = set(re.findall(r"\b\w+\b", "".join(re.findall(r"^>>> .*$", PAGES["api"], re.M))))
        assert len(used & set(mini_gpt.__all__)) >= 15

    @pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
    def test_examples_in_docstrings_run(self, chapter: toc.Chapter) -> None:
        module = importlib.import_module(chapter.module)
        assert doctest.testmod(module).failed == 0


def fields_of(kind: Any) -> Iterator[dataclasses.Field[Any]]:
    """The options of a command, those of its groups included."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields_of(hints[field.name])
        else:
            yield field


class TestCommand:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_option_has_an_entry(self, name: str) -> None:
        command = COMMANDS[name]
        text = "\n".join(listed for _, listed in book_command.sections(command))
        entries = re.findall(r"^`([^`]+)`.*\n: (.+)$", text, re.M)
        assert len(entries) == count_options(command.options)
        assert all(len(words) > 5 for _, words in entries)
        options = {f"--{field.name.replace('_', '-')}" for field in fields_of(command.options)}
        called = {name for names, _ in entries for name in re.findall(r"--[\w-]+", names)}
        assert called <= options
        assert len(options - called) == sum(not names.startswith("--") for names, _ in entries)

    def test_marks_what_the_short_help_leaves_out(self) -> None:
        text = "\n".join(listed for _, listed in book_command.sections(COMMANDS["train"]))
        essential = COMMANDS["train"].essentials
        marked = re.findall(r"^`[^`]*` °", text, re.M)
        assert len(marked) == count_options(COMMANDS["train"].options) - len(essential)
        assert "`--corpus STR` · default `shakespeare`\n: " in text
        assert "None" not in "".join(re.findall(r"default `(.*?)`", text))


# ---- file formats -------------------------------------------------------------------------------


def table(head: str) -> list[str]:
    """The names in the first column of the table of the page on formats with this head."""
    match = re.search(
        rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGES["formats"], re.M
    )
    assert match, f"book/formats.md has no table {head!r}"
    return [row.split("|")[1].strip().strip("`") for row in match[1].splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    options = ["--sample-every", "3", "--bias", "--position", "learned"]
    return quick_run(write_corpus(folder), folder / "run", *options)


def tensors(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    with safe_open(path, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return file.metadata() or {}, shapes


@pytest.mark.slow
class TestFormats:
    def test_a_run_has_these_files(self, run: Path) -> None:
        assert {path.name for path in run.iterdir()} == set(table("Name"))
        [step] = {path.name for path in (run / "checkpoints").iterdir()} - {"step-3"}
        assert step == "step-6"
        inside = {path.name for path in (run / "checkpoints" / step).iterdir()}
        assert inside <= set(table("In `step-N`"))
        assert set(table("In `step-N`")) - inside <= {"shares"}

    def test_a_model_has_these_files(self, run: Path) -> None:
        for folder in (run / "checkpoint", run / "checkpoints" / "step-6" / "model"):
            assert {path.name for path in folder.iterdir()} == set(table("File"))

    def test_a_configuration_has_these_fields(self, run: Path) -> None:
        content = json.loads((run / "checkpoint" / "config.json").read_text())
        fields = {field.name for field in dataclasses.fields(GPTConfig)}
        assert content.keys() - fields == set(table("Field of `config.json`"))
        assert list(content["sha256"]) == ["shape", "model.safetensors", "mini_gpt_tokenizer.json"]

    def test_weights_have_these_names_and_shapes(self, run: Path) -> None:
        config = mini_gpt.from_pretrained(run)[0].config
        metadata, shapes = tensors(run / "checkpoint" / "model.safetensors")
        assert metadata == {"format": "pt"}
        assert {re.sub(r"\.\d+\.", ".{layer}.", name) for name in shapes} == set(table("Tensor"))
        sizes = {name: getattr(config, name) for name in ("width", "heads", "context_length")}
        sizes |= {"vocab_size": config.padded_vocab_size, "head_width": config.head_width}
        sizes |= {"key_value_heads": config.kv_heads, "hidden_width": config.feed_forward_width}
        rows = re.findall(r"^\| `([\w.{}]+)` \| (.*) \|$", PAGES["formats"], re.M)
        for name, written in rows:
            if (stored := name.replace("{layer}", "1")) in shapes:
                text = written.replace(", padded if the configuration says so,", "")
                text = text.replace("2 key", "2 * key").replace("·", "*")
                expected = tuple(eval(size, {}, sizes) for size in text.split("×"))
                assert shapes[stored] == expected, name

    def test_tokenizers_have_these_fields(self, run: Path, tmp_path: Path) -> None:
        common = set(table("Field of a tokenizer"))
        content = json.loads((run / "checkpoint" / "mini_gpt_tokenizer.json").read_text())
        assert content.keys() == common | set(table("Field of characters"))
        tokens = [bytes([byte]) for byte in range(256)]
        plain, full = set(table("Field of byte pairs")), tmp_path / "full.json"
        BPETokenizer(tokens).save(tmp_path / "plain.json")
        special = {"<|end|>": 0}
        BPETokenizer(tokens, special_tokens=special, added_tokens={"whole": 257}).save(full)
        written = json.loads((tmp_path / "plain.json").read_text()).keys()
        assert written == common | plain - {"special_ids", "added_tokens"}
        assert json.loads(full.read_text()).keys() == common | plain

    def test_states_and_metrics_have_these_fields(self, run: Path) -> None:
        state = json.loads((run / "checkpoints" / "step-6" / "state.json").read_text())
        assert state.keys() == set(table("Field of `state.json`"))
        owner = json.loads((run / "run.json").read_text())
        assert owner.keys() == set(table("Field of `run.json`"))
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for line in lines[:-1]:
            assert line.keys() == set(table("Field of a line of `metrics.jsonl`"))
        assert lines[-1].keys() == set(table("Field of the last line"))

    def test_settings_have_these_fields(self, run: Path) -> None:
        content = read_settings(run / "settings.toml")
        options = {field.name for field in dataclasses.fields(COMMANDS["train"].options)}
        ours = set(table("Field of `settings.toml`"))
        assert ours <= content.keys()
        assert content.keys() - ours <= options
        assert content["run_version"] == 2
        assert content["model"].keys() <= {field.name for field in dataclasses.fields(GPTConfig)}
        training = {field.name for field in dataclasses.fields(mini_gpt.TrainConfig)}
        assert content["training"].keys() <= training


class TestOtherFormats:
    def test_a_file_of_tokens_begins_so(self, tmp_path: Path) -> None:
        tokenizer = mini_gpt.CharTokenizer.train(TEXT)
        path = tmp_path / "tokens.bin"
        count = write_token_file(path, [TEXT], tokenizer)
        spans = [tuple(map(int, row.split(" to "))) for row in table("Bytes of a token file")]
        assert [first for first, _ in spans] == [0, *(last + 1 for _, last in spans[:-1])]
        assert spans[-1][1] + 1 == TOKEN_FILE_HEADER.size
        data = path.read_bytes()
        parts = [data[first : last + 1] for first, last in spans]
        assert parts[0] == b"mini_gpt"
        numbers = [int.from_bytes(part, "little") for part in parts[1:4]]
        assert numbers == [2, 2, count]
        assert len(data) == TOKEN_FILE_HEADER.size + 2 * count

    @pytest.mark.slow
    def test_a_folder_of_tokens_is_so(self, tmp_path: Path) -> None:
        text = f"\n{END_OF_TEXT}\n".join([TEXT] * 12)
        (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
        BPETokenizer.train(TEXT, 270).save(tmp_path / "own.json")
        settings = Settings(tokenizer=str(tmp_path / "own.json"))
        folder = tmp_path / "tokens"
        prepare_tokens(Source(str(tmp_path / "corpus.txt")), folder, settings, shown=False)
        assert {path.name for path in folder.iterdir()} == set(table("In a folder of tokens"))
        content = json.loads((folder / "prepared.json").read_text())
        assert content.keys() == set(table("Field of `prepared.json`"))
        spans = [tuple(map(int, row.split(" to "))) for row in table("Bytes of a shard")]
        assert [first for first, _ in spans] == [0, *(last + 1 for _, last in spans[:-1])]
        assert spans[-1][1] + 1 == SHARD_HEADER.size
        data = (folder / "train-00000.tokens").read_bytes()
        parts = [data[first : last + 1] for first, last in spans]
        numbers = [int.from_bytes(part, "little") for part in (*parts[1:4], *parts[6:])]
        training = content["training"]
        assert numbers == [3, 2, training["tokens"], training["documents"], 0]
        places = np.frombuffer(data[-8 * training["documents"] :], "<u8")
        assert places[0] == 0
        assert (np.diff(places.astype(int)) > 0).all()

    def test_an_adapter_has_these_fields(self, tmp_path: Path) -> None:
        base = tiny_gpt()
        model = mini_gpt.resize_vocab(base, base.config.vocab_size + 2)
        add_lora(model, 2, 4.0)
        save_adapter(model, base, tmp_path / "adapter.safetensors")
        metadata, shapes = tensors(tmp_path / "adapter.safetensors")
        assert set(metadata) == {"format", "adapter"}
        assert metadata["format"] == "mini_gpt adapter"
        assert json.loads(metadata["adapter"]).keys() == set(table("Field of `adapter`"))
        ends = {re.sub(r"^decoder.*\.", "{map}.", name) for name in shapes}
        assert ends == set(table("Tensor of an adapter"))


# ---- names of others ----------------------------------------------------------------------------


def renamed() -> Iterator[tuple[str, str, str, str]]:
    """The rows of the page on migration: heads of the columns, their name, ours."""
    heads = ("", "")
    for line in PAGES["migration"].splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            ours = re.match(r"`([^`]+)`", cells[1])
            if "What" in cells[0] or re.match(
                r"nanoGPT|Theirs|Hugging|`GPT2Config`|`generate`$", cells[0]
            ):
                heads = (cells[0], cells[1])
            else:
                assert ours, line
                yield (*heads, cells[0].strip("`"), ours[1])


def exists(head: str, name: str) -> bool:
    """Whether a name of ours is there: a field, an option, a function, a parameter."""
    if name.startswith("--"):
        fields = [dataclasses.fields(command.options) for command in COMMANDS.values()]
        return name[2:].replace("-", "_") in {field.name for some in fields for field in some}
    if name.startswith(("token_", "positions", "decoder")):
        return name.replace("{layer}", "1") in dict(tiny_gpt().named_parameters())
    kind = re.match(r"`(\w+)`", head)
    if kind and name in {field.name for field in dataclasses.fields(getattr(mini_gpt, kind[1]))}:
        return True
    found: Any = mini_gpt
    if name.startswith("mini_gpt."):
        module, _, name = name.rpartition(".")
        found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is not None


class TestMigration:
    @pytest.mark.parametrize(("theirs", "head", "their_name", "name"), list(renamed()))
    def test_our_name_exists(self, theirs: str, head: str, their_name: str, name: str) -> None:
        assert exists(head, name), f"{name}, which is to stand for {their_name}"

    def test_a_name_that_is_not_there_is_found(self) -> None:
        assert not exists("`GPTConfig`", "block_size")
        assert not exists("Here", "mini_gpt.optimizer.get_lr")
        assert not exists("Here", "--out-dir")
        assert len(list(renamed())) > 60

    @pytest.mark.slow
    def test_the_names_of_hugging_face_exist(self) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=11)
        theirs = transformers.GPT2LMHeadModel(config).transformer.state_dict()
        ours = {name: shape.shape for name, shape in tiny_gpt().named_parameters()}
        for head, _, name, our_name in renamed():
            if head == "`GPT2Config`":
                assert hasattr(config, name), name
            elif head == "`generate`":
                known = vars(transformers.GenerationConfig())
                assert name in {*known, "input_ids", "assistant_model"}, name
            elif head == "Hugging Face":
                owner, _, part = name.partition(".")
                thing = getattr(transformers, owner)
                assert not part or hasattr(thing, part), name
            elif head == "Theirs":
                assert name.replace("{layer}", "1") in theirs, name
                assert our_name.replace("{layer}", "1") in ours


class TestPromises:
    TEXT = (ROOT / "tests" / "PROMISES.md").read_text(encoding="utf-8")

    def test_every_promise_is_on_the_page(self) -> None:
        parts = book_promises.parts(self.TEXT)
        rows = [line for line in self.TEXT.splitlines() if re.match(r"\| .*`[\w/]+\.py::", line)]
        assert sum(map(len, parts.values())) == len(rows) >= 50
        assert list(parts) == re.findall(r"^## (.+)$", self.TEXT, re.M)
        for promises in parts.values():
            for promise, tests in promises:
                assert promise.endswith(".")
                assert all((ROOT / "tests" / file).is_file() for file, _ in tests)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("test_what_we_write", "what we write"),
            ("TestAKillWhileSaving", "a kill while saving"),
            ("TestJSON", "json"),
            ("TestDamage::test_it_is_seen", "damage: it is seen"),
        ],
    )
    def test_a_test_is_called_by_words(self, name: str, words: str) -> None:
        assert book_promises.in_words(name) == words


def test_shapes_on_the_page_are_real() -> None:
    """The one example of attention on the page of the package, by PyTorch's own softmax."""
    scores = torch.zeros(2, 3).masked_fill(~mini_gpt.attention.causal_mask(2, 3), -torch.inf)
    assert torch.allclose(scores.softmax(-1)[0], torch.tensor([0.5, 0.5, 0.0]))
