"""Special tokens with any ids, and added tokens that are text: as `tokenizers` encodes them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Theirs
from transformers import AutoTokenizer

from mini_gpt import BPETokenizer, from_pretrained, to_huggingface
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.huggingface_tokenizer import bpe_content, write_huggingface_tokenizer
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import END_OF_TEXT, load_tokenizer
from peers import build, build_peer, transformers, write_huggingface
from texts import WHOLE, learn

LEARNED = "to be or not to be, that is the question of the other, the end  of it.\n\n" * 3
SPECIAL = ["<s>", "<pad>", "</s>"]
ONCE = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def trained(special: list[str] = SPECIAL, size: int = 285) -> Theirs:
    """A tokenizer as their library trains it: the special tokens first."""
    theirs = Theirs(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([LEARNED], trainer)
    return theirs


def read(theirs: Theirs, folder: Path, end: str | None = "</s>") -> BPETokenizer:
    folder.mkdir(exist_ok=True)
    theirs.save(str(folder / "tokenizer.json"))
    if end is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    return read_huggingface_tokenizer(folder)


def pieces(theirs: Theirs) -> st.SearchStrategy[str]:
    """Texts in which added tokens stand alone, in words, side by side and cut in two."""
    added = [token.content for token in theirs.get_added_tokens_decoder().values()]
    halves = [part for text in added for part in (text[:-1], text[1:]) if part]
    words = ["the", " the", "other", " ", "  ", "\n", "x", "é", "猫", "question", "<", ">", "'s"]
    return st.lists(st.sampled_from([*added, *halves, *words]), max_size=12).map("".join)


def assert_same_ids(ours: BPETokenizer, theirs: Theirs, text: str) -> None:
    assert ours.encode(text, allowed_special=ours.special_tokens) == theirs.encode(text).ids


def written(folder: Path) -> Theirs:
    return Theirs.from_file(str(folder / "tokenizer.json"))


class TestSpecialIdsAnywhere:
    def test_special_ids_first_were_refused(self, tmp_path: Path) -> None:
        theirs = trained()
        ours = read(theirs, tmp_path)
        assert theirs.encode("</s>").ids == [2]
        assert (ours.end_of_text, ours.special_tokens) == (2, ("</s>", "<s>", "<pad>"))
        assert ours.vocab_size == theirs.get_vocab_size() == 285
        for text in (LEARNED, "", "the</s> the<s>other", "猫é\x00"):
            assert_same_ids(ours, theirs, text)
        assert ours.decode(theirs.encode("the </s>").ids) == "the </s>"

    @pytest.mark.slow
    @ONCE
    @given(data=st.data())
    def test_at_any_place(self, tmp_path: Path, data: st.DataObject) -> None:
        """First, in the middle, last; others that are text, in the vocabulary and beyond it."""
        content = json.loads(trained([]).to_str())
        ordinary = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
        names = st.sampled_from(["<s>", "</s>", "<pad>", "s<", "the end", "s>", "猫", " of"])
        inside = data.draw(st.lists(names, max_size=4, unique=True), "inside")
        order = [*ordinary]
        for name in inside:
            order.insert(data.draw(st.integers(0, len(order)), f"place of {name}"), name)
        content["model"]["vocab"] = {token: id for id, token in enumerate(order)}
        theirs = Theirs.from_str(json.dumps(content))
        special = [name for name in inside if name not in ordinary and data.draw(st.booleans())]
        theirs.add_special_tokens(special)
        theirs.add_tokens([AddedToken(x, normalized=False) for x in inside if x not in special])
        more = st.sampled_from(["question", "ther", "<sep>", "e", " the", ", ", "Ġx"])
        for name in data.draw(st.lists(more, max_size=3, unique=True), "beyond"):
            theirs.add_tokens([AddedToken(name, normalized=False)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = read(theirs, tmp_path, None)
        ours.save(tmp_path / "ours.json")
        again = load_tokenizer(tmp_path / "ours.json")
        assert isinstance(again, BPETokenizer)
        assert fingerprint(again) == fingerprint(ours)
        write_huggingface_tokenizer(again, tmp_path / "exported")
        exported = written(tmp_path / "exported")
        assert exported.get_vocab() == theirs.get_vocab()
        back = read_huggingface_tokenizer(tmp_path / "exported")
        assert fingerprint(back) == fingerprint(ours)
        # Told to leave special tokens alone, theirs sees no other token inside of one either.
        hides = any(x in name for x in ours.ids.added for name in ours.special_tokens)
        for _ in range(8):
            text = data.draw(pieces(theirs), "text")
            for each in (ours, again, back):
                assert_same_ids(each, theirs, text)
            assert exported.encode(text).ids == theirs.encode(text).ids
            exported.encode_special_tokens = True
            assert hides or exported.encode(text).ids == ours.encode(text)
            exported.encode_special_tokens = False
            assert ours.decode(ours.encode(text)) == text

    def test_long_texts_by_the_engine_have_the_same_ids(self, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_tokens(["of it."])
        ours = read(theirs, tmp_path)
        fast = BPETokenizer(
            ours.tokens,
            special_tokens=ours.ids.special,
            added_tokens=ours.ids.added,
            fast=True,
        )
        text = LEARNED * 200 + "</s>"
        assert fast.encode(text, allowed_special=["</s>"]) == theirs.encode(text).ids
        assert fast.encode(text) == ours.encode(text)

    def test_a_whole_model_comes_and_goes(self, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_tokens(["that is"])
        size = theirs.get_vocab_size()
        folder = write_huggingface(build_peer(vocab_size=size), tmp_path / "peer")
        read(theirs, folder)
        model, ours = from_pretrained(folder)
        to_huggingface(model, ours, tmp_path / "shared")
        auto = AutoTokenizer.from_pretrained(tmp_path / "shared")
        text = "<s>the other, that is</s> the"
        assert auto(text)["input_ids"] == theirs.encode(text).ids
        assert auto(text, split_special_tokens=True)["input_ids"] == ours.encode(text)
        assert (auto.eos_token_id, len(auto)) == (2, size)
        auto.save_pretrained(tmp_path / "saved")
        assert fingerprint(read_huggingface_tokenizer(tmp_path / "saved")) == fingerprint(ours)
        config = transformers.AutoConfig.from_pretrained(tmp_path / "shared")
        assert config.eos_token_id == config.bos_token_id == 2

    @pytest.mark.parametrize(
        ("config", "expected"), [({"eos_token_id": 1}, "<pad>"), ({"eos_token_id": 50256}, "</s>")]
    )
    def test_the_end_of_a_text_where_only_the_model_says_it(
        self, config: dict[str, Any], expected: str, tmp_path: Path
    ) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read(trained(), tmp_path, None).special_tokens[0] == expected

    def test_a_guess_at_the_end_of_a_text_is_said(self, tmp_path: Path) -> None:
        with pytest.warns(
            UserWarning, match=r"'<a>', '<b>'.* ends a text; '<a>' is taken, say eos"
        ):
            assert read(trained(["<a>", "<b>"]), tmp_path, None).end_of_text == 0
        assert read(trained(["<a>"]), tmp_path, None).end_of_text == 0
        (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<a>"}')
        with pytest.raises(ValueError, match="eos_token is '<b>' and '<a>'"):
            read(trained(["<a>", "<b>"]), tmp_path, "<b>")

    def test_the_two_older_files(self, tmp_path: Path) -> None:
        model = json.loads(trained().to_str())["model"]
        (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
        lines = [" ".join(pair) for pair in model["merges"]]
        (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), "utf-8")
        (tmp_path / "added_tokens.json").write_text('{"that is": 285}')
        with pytest.raises(ValueError, match=r"bos_token '<\|endoftext\|>' is none of its tokens"):
            read_huggingface_tokenizer(tmp_path)
        roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>", "pad_token": "<pad>"}
        roles["tokenizer_class"] = "GPT2Tokenizer"
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(roles))
        ours, theirs = read_huggingface_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
        assert (ours.end_of_text, ours.vocab_size) == (theirs.eos_token_id, len(theirs)) == (2, 286)
        for text in ("the</s>that is<pad>", "xthat isx", LEARNED):
            ids = ours.encode(text, allowed_special=ours.special_tokens)
            assert ids == theirs(text)["input_ids"]

    def test_one_can_be_trained_so_here(self, tmp_path: Path) -> None:
        special = {"<end>": 1, "<user>": 0}
        ours = BPETokenizer.train(LEARNED, 280, special_tokens=special)
        last = BPETokenizer.train(LEARNED, 280, special_tokens=["<end>", "<user>"])
        assert (ours.end_of_text, ours.vocab_size) == (1, 280)
        assert ours.encode(LEARNED) == [id + 2 for id in last.encode(LEARNED)]
        write_huggingface_tokenizer(ours, tmp_path)
        auto = AutoTokenizer.from_pretrained(tmp_path)
        assert auto("the<user>")["input_ids"] == ours.encode("the<user>", allowed_special=special)
        assert auto.eos_token_id == 1

    def test_gpt2s_class_adds_an_end_of_text_by_itself(self, tmp_path: Path) -> None:
        """With only its class named, theirs knows one token more, which ends a text there."""
        read(trained(), tmp_path)
        config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        assert len(AutoTokenizer.from_pretrained(tmp_path)) == 286
        with pytest.raises(ValueError, match=r"bos_token '<\|endoftext\|>' is none of its tokens"):
            read_huggingface_tokenizer(tmp_path)
        config |= {"bos_token": "<s>", "unk_token": "<pad>"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        auto = AutoTokenizer.from_pretrained(tmp_path)
        ours = read_huggingface_tokenizer(tmp_path)
        assert (len(auto), auto.eos_token_id) == (ours.vocab_size, ours.end_of_text) == (285, 2)

    def test_two_lists_of_added_tokens_that_differ(self, tmp_path: Path) -> None:
        """GPT-2's class takes the one in tokenizer_config.json, and forgets the other."""
        theirs = trained()
        theirs.add_tokens(["that is"])
        described = {"286": {"content": "question", "special": False, "normalized": True}}
        read(theirs, tmp_path)
        config = {"eos_token": "</s>", "added_tokens_decoder": described}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="token '<s>' is not in added_tokens_decoder"):
            read_huggingface_tokenizer(tmp_path)


class TestAddedTokensThatAreText:
    @pytest.mark.parametrize(
        "name", ["that is", "ther", " the", "  ", "question", "猫", "e", "<x>"]
    )
    def test_plain_ones_were_refused(self, name: str, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_tokens([name])
        ours = read(theirs, tmp_path)
        assert ours.ids.added == {name: theirs.token_to_id(name)}
        assert ours.vocab_size == theirs.get_vocab_size()
        for text in (LEARNED, name, f"x{name}{name}</s>the {name}n", f"the other{name} there"):
            assert_same_ids(ours, theirs, text)
            assert ours.decode(ours.encode(text)) == text
            assert count_text_bytes(ours, ours.encode(text)) == len(text.encode())

    def test_a_long_one_wins(self, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_tokens(["not", "not to", "o n", "to be"])
        ours = read(theirs, tmp_path)
        for text in ("or not to be", "to not to be not", "o not"):
            assert_same_ids(ours, theirs, text)

    def test_what_is_typed_is_special_only_if_allowed(self, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_tokens(["that is"])
        ours = read(theirs, tmp_path)
        assert ours.encode("that is") == [285]
        assert 2 not in ours.encode("that is</s>")
        assert count_text_bytes(ours, ours.encode("</s>a", allowed_special=["</s>"])) == 1

    def test_the_letter_of_a_byte_is_another_text(self, tmp_path: Path) -> None:
        """Their library finds é in its vocabulary, where it stands for the byte E9."""
        theirs = trained()
        theirs.add_tokens(["é"])
        with pytest.raises(ValueError, match=r"added token 'é' has the id .* for b'\\xe9'"):
            read(theirs, tmp_path)

    def test_a_special_token_that_can_be_typed(self, tmp_path: Path) -> None:
        theirs = trained()
        theirs.add_special_tokens(["ther"])
        with pytest.raises(ValueError, match="special token 'ther' is an ordinary token too"):
            read(theirs, tmp_path)

    @pytest.mark.parametrize(
        ("special", "text"), [("b>", "<ab"), ("ab", "<ab>"), ("<ab", "<ab>"), ("<ab", "x<a")]
    )
    def test_two_passes_found_other_tokens_than_one(
        self, special: str, text: str, tmp_path: Path
    ) -> None:
        """Special tokens are looked for first; it was taken for one search of the longest."""
        theirs = trained()
        theirs.add_special_tokens([special])
        theirs.add_special_tokens([AddedToken(text, normalized=True, special=True)])
        with pytest.raises(ValueError, match=f"tokens '{text}' and '{special}' overlap"):
            read(theirs, tmp_path)

    @ONCE
    @given(data=st.data())
    def test_or_one_pass_finds_the_same(self, tmp_path: Path, data: st.DataObject) -> None:
        few = st.lists(st.text("ab<>", min_size=1, max_size=3), max_size=3, unique=True)
        names = data.draw(few, "names")
        theirs = trained()
        for name in names:
            normalized = data.draw(st.booleans(), f"{name} normalized")
            theirs.add_tokens([AddedToken(name, normalized=normalized)])
        try:
            ours = read(theirs, tmp_path)
        except ValueError as fault:
            if "overlap" in str(fault):
                return
            raise
        for text in data.draw(st.lists(st.text("ab<>", max_size=12), max_size=9), "texts"):
            assert_same_ids(ours, theirs, text)

    @pytest.mark.parametrize("ids", [(286, 285), (285, 287), (290, 291), (3, 285)])
    def test_ids_of_a_file_that_its_library_does_not_take(
        self, ids: tuple[int, int], tmp_path: Path
    ) -> None:
        """It numbers added tokens in their order, whatever the file says; ours believed it."""
        theirs = trained()
        theirs.add_tokens(["<a>", "<b>"])
        content = json.loads(theirs.to_str())
        for token, id in zip(content["added_tokens"][-2:], ids, strict=True):
            token["id"] = id
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        assert written(tmp_path).encode("<a><b>").ids == [285, 286]
        with pytest.raises(ValueError, match=r"token '<[ab]>' has two ids: .* gives it 28[56]"):
            read_huggingface_tokenizer(tmp_path)


class TestOurs:
    """The class itself."""

    @pytest.mark.parametrize(
        ("special", "added", "kind", "message"),
        [
            ({"<a>": 300}, None, ValueError, "'<a>' has the id 300, but there are 257 tokens"),
            ({"<a>": -1}, None, ValueError, "the id of '<a>', -1 must be at least 0"),
            ({"<a>": True}, None, TypeError, "the id of '<a>', True must be a whole number"),
            ({"<a>": 3, "<b>": 3}, None, ValueError, "'<a>' and '<b>' both have the id 3"),
            ({"<a>": 3}, {"hen": 3}, ValueError, "'<a>' and 'hen' both have the id 3"),
            (["<a>"], {"<a>": 3}, ValueError, "'<a>' twice"),
            (["<a>"], {"hen": None}, ValueError, "'hen' is none of the ordinary ones"),
            ([], {"": 0}, ValueError, "empty token"),
            ([], {"\ud800": 0}, ValueError, "half of a character"),
        ],
    )
    def test_ids_that_cannot_be(
        self, special: Any, added: Any, kind: type[Exception], message: str
    ) -> None:
        with pytest.raises(kind, match=message):
            BPETokenizer(learn("", 256), special_tokens=special, added_tokens=added)

    def test_a_special_token_like_an_ordinary_one_gave_other_ids_there(
        self, tmp_path: Path
    ) -> None:
        """Both had one place in the exported vocabulary, and the ordinary one was lost."""
        ours = BPETokenizer(learn("aa aa", 257), special_tokens=["aa"])
        assert ours.encode("aa") == [256]
        with pytest.raises(ValueError, match=r"'aa' with id 257 is written as .* with id 256"):
            write_huggingface_tokenizer(ours, tmp_path)
        assert not list(tmp_path.iterdir())
        apart = BPETokenizer(learn("aa aa", 257), special_tokens=["é"])
        with pytest.raises(ValueError, match="'é' with id 257 is written as"):
            bpe_content(apart)

    def test_the_files_of_before_stay_what_they_were(self, tmp_path: Path) -> None:
        """What needs nothing new is written as version 1, and what does not is no version 1."""
        plain = BPETokenizer(learn("", 256), pattern=WHOLE)
        first = BPETokenizer(learn("", 256), special_tokens={END_OF_TEXT: 0})
        text = BPETokenizer(learn("", 256), added_tokens={"hen": 0})
        versions = []
        for tokenizer in (plain, first, text):
            tokenizer.save(tmp_path / "t.json")
            content = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
            versions.append(content["version"])
            assert fingerprint(load_tokenizer(tmp_path / "t.json")) == fingerprint(tokenizer)
        assert versions == [1, 2, 2]
        same = BPETokenizer(learn("", 256), special_tokens={END_OF_TEXT: 256}, pattern=WHOLE)
        assert fingerprint(same) == fingerprint(plain)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("special_ids", [0]),
            ("special_ids", [0, 0]),
            ("special_ids", [0, 10**30]),
            ("special_ids", "01"),
            ("special_ids", [1.0, 0]),
            ("special_ids", 7),
            ("added_tokens", ["hen"]),
            ("added_tokens", {"hen": "0"}),
            ("added_tokens", {"<a>": 0}),
        ],
    )
    def test_a_damaged_file(self, name: str, value: object, tmp_path: Path) -> None:
        path = tmp_path / "t.json"
        BPETokenizer(learn("", 256), special_tokens={"<a>": 0, "<b>": 5}).save(path)
        content = json.loads(path.read_text(encoding="utf-8")) | {name: value}
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match="is not a mini_gpt tokenizer"):
            load_tokenizer(path)

    def test_a_model_of_ours_with_special_ids_first(self, tmp_path: Path) -> None:
        ours = BPETokenizer.train(LEARNED, 280, special_tokens={END_OF_TEXT: 0})
        to_huggingface(build(vocab_size=280), ours, tmp_path / "shared")
        theirs = AutoTokenizer.from_pretrained(tmp_path / "shared")
        assert theirs(f"the{END_OF_TEXT}")["input_ids"][-1] == ours.end_of_text == 0
        assert from_pretrained(tmp_path / "shared")[1].to_dict() == ours.to_dict()
