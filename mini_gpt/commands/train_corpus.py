"""What `mini-gpt train` learns from: a text, which it encodes, or prepared tokens."""

from __future__ import annotations

from typing import NamedTuple

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.train_options import BPE_VOCAB_SIZE, Kind, Train
from mini_gpt.commands.train_report import say
from mini_gpt.support.corpus import corpus_path, load_documents
from mini_gpt.support.corpus_cache import documents_digest, encode_once, learn_once
from mini_gpt.support.documents import DocumentSplit, split_documents
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.prompts import start_tokens
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_folder import open_token_folder
from mini_gpt.support.token_manifest import is_token_folder
from mini_gpt.support.token_shards import TokenRow
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import BPETokenizer


class Corpus(NamedTuple):
    """A corpus as a run needs it.

    Attributes:
        validation_bytes: Bytes in UTF-8 of the text of all validation tokens but the
            first: it is not predicted.
        summary: What to say of it, in lines.
        start: The tokens that samples begin with.
        measured: What the loss at the end of a run is of.
    """

    tokenizer: CharTokenizer | BPETokenizer
    training_tokens: TokenRow
    validation_tokens: TokenRow
    validation_bytes: int
    summary: list[str]
    start: list[int]
    measured: str = "the whole validation split"

    @property
    def unit(self) -> str:
        """What a token is."""
        return "character" if isinstance(self.tokenizer, CharTokenizer) else "token"

    def bounded(self, most: int | None) -> Corpus:
        """With this many validation tokens to predict, from the first; None: all."""
        if most is None or most >= len(self.validation_tokens) - 1:
            return self
        kept = self.validation_tokens[: most + 1]
        return self._replace(
            validation_tokens=kept,
            validation_bytes=count_text_bytes(self.tokenizer, kept[1:]),
            measured=f"the first {most:,} {self.unit}s of the validation split",
        )


class TextSource:
    """Documents that are still to be encoded.

    Attributes:
        digest: What tells this corpus from others: a run goes on with the same one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.documents = load_documents(name)
        self.digest = documents_digest(self.documents)

    def kind(self, command: Train) -> Kind:
        """As asked; characters if nothing is."""
        return command.tokenizer or "characters"

    def corpus(
        self, command: Train, tokenizer: CharTokenizer | BPETokenizer | None
    ) -> Corpus:
        """The text in tokens, encoded now or before.

        It is cut at the same place whatever the tokenizer, so that bits per byte of two
        runs speak of the same text.

        Raises:
            ValueError: if the tokenizer is not of the kind that was asked for.
        """
        split = split_documents(self.documents)
        if tokenizer is None:
            tokenizer = self._learned(split, command)
        if isinstance(tokenizer, CharTokenizer) != (command.tokenizer == "characters"):
            raise ValueError(
                f"--tokenizer {command.tokenizer} is not that of the model"
            )
        documents = self.documents
        encoded = encode_once(documents, split, tokenizer, self.digest, say)
        unit = "character" if isinstance(tokenizer, CharTokenizer) else "token"
        summary = [
            f"corpus {self.name}: {sum(map(len, documents)):,} characters, "
            f"{encoded.distinct} distinct; {len(encoded.training):,} {unit}s to train "
            f"on, {len(encoded.validation):,} to validate on"
        ]
        if len(documents) > 1:
            others = f"{len(split.validation):,} to validate on"
            shared = ", one of them cut in two" if split.inside else ""
            summary.append(
                f"documents: {len(split.training):,} to train on, {others}{shared}"
            )
        start = start_tokens(tokenizer, documents[0])
        return Corpus(tokenizer, *encoded[:3], summary, start)

    def _learned(
        self, split: DocumentSplit, command: Train
    ) -> CharTokenizer | BPETokenizer:
        """The tokenizer that was asked for; tokens are learned from the training part.

        Learned tokens come with one that ends a document, where there are several. Of a
        single document nobody sees the end, and a model would never learn what the
        token means. Characters have none: an empty line stands between documents.

        Raises:
            ValueError: if --vocab-size does not fit the tokenizer or the corpus.
        """
        asked = command.model.vocab_size
        about = (sum(map(len, self.documents)), self.digest, say)
        if command.tokenizer == "bpe":
            size = BPE_VOCAB_SIZE if asked is None else asked
            several = len(split.training) + len(split.validation) - split.inside > 1
            special = (END_OF_TEXT,) if several else ()

            def learn() -> CharTokenizer | BPETokenizer:
                text = "\n\n".join(split.training)
                return BPETokenizer.train(text, size, special_tokens=special)

            return learn_once(learn, *about, kind="bpe", size=size, special=special)

        def collect() -> CharTokenizer | BPETokenizer:
            return CharTokenizer.train(
                "\n\n".join((*split.training, *split.validation))
            )

        tokenizer = learn_once(collect, *about, kind="characters")
        if asked not in (None, tokenizer.vocab_size):
            raise ValueError(
                f"vocab_size {asked} does not fit the corpus, which has "
                f"{tokenizer.vocab_size} distinct characters; leave --vocab-size out"
            )
        return tokenizer


class PreparedSource:
    """Tokens that `mini-gpt prepare` has left in a folder, with their tokenizer.

    Attributes:
        digest: As that of a text.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = open_token_folder(corpus_path(name))
        self.digest = self.folder.digest

    def kind(self, command: Train) -> Kind:
        """That of the folder's tokenizer.

        Raises:
            ValueError: if another one was asked for.
        """
        characters = isinstance(self.folder.tokenizer, CharTokenizer)
        found: Kind = "characters" if characters else "bpe"
        asked = command.tokenizer
        # That of a model to start from is compared as a whole, later.
        if asked not in (None, found) and command.initialize_from is None:
            raise ValueError(
                f"{self.name} holds tokens of another tokenizer ({found}, "
                f"{self.folder.tokenizer.vocab_size:,} in its vocabulary) than "
                f"--tokenizer {asked}; leave --tokenizer out, or prepare the text again"
            )
        return found

    def corpus(
        self, command: Train, tokenizer: CharTokenizer | BPETokenizer | None
    ) -> Corpus:
        """The tokens of the folder, mapped.

        Raises:
            ValueError: if they were made with another tokenizer than is given.
        """
        own, folder = self.folder.tokenizer, self.folder
        if tokenizer is not None and fingerprint(tokenizer) != fingerprint(own):
            whose = command.resume or command.initialize_from
            raise ValueError(
                f"{self.name} was prepared with another tokenizer (fingerprint "
                f"{fingerprint(own)}) than that of {whose} ({fingerprint(tokenizer)}); "
                f"prepare the text again with --tokenizer {whose}"
            )
        documents = [
            folder.manifest[part].get("documents")
            for part in ("training", "validation")
        ]
        tokens = [len(row) for row in (folder.training, folder.validation)]
        summary = [
            f"corpus {self.name}: {tokens[0]:,} tokens to train on, {tokens[1]:,} to "
            f"validate on, of {own.vocab_size:,} different ones"
        ]
        if None not in documents:
            summary.append(
                f"documents: {documents[0]:,} to train on, {documents[1]:,} to "
                "validate on"
            )
        start = start_tokens(own, own.decode(folder.training[:1]))
        return Corpus(own, *folder[1:4], summary, start)


Source = TextSource | PreparedSource


def open_source(name: str) -> Source:
    """A corpus by its name or path; nothing is encoded yet.

    Raises:
        ValueError: naming what is missing in it, or damaged.
        OSError: if it cannot be fetched or read.
    """
    prepared = is_token_folder(corpus_path(name))
    return PreparedSource(name) if prepared else TextSource(name)
