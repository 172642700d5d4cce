"""Tokens that Hugging Face's files add to a vocabulary: which, and with which ids.

Their library looks for these texts before it cuts a text by the pattern. Special tokens
stand for no text; the others are ordinary text that is one token wherever it stands.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from mini_gpt.support.files import printable
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT, gpt2_byte_characters
from mini_gpt.support.huggingface_rules import (
    ADDED_TOKEN,
    GPT2_CLASSES,
    MORE,
    ROLES,
    check,
    configuration,
    json_object,
    short,
)

LONGEST = 256  # characters of an added token
# What others call the token that ends a text, where no file says which one does.
USUAL_ENDS = [END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<|im_end|>"]


@dataclass
class Added:
    """An added token.

    Attributes:
        id: What the files say.
        special: Whether it stands for no text.
        normalized: What the files say. Their library looks for tokens of which it is
            False first, and for the others in what is left.
    """

    id: int
    special: bool = False
    normalized: set[bool] = field(default_factory=set)


def read_added_tokens(
    folder: Path,
    vocabulary: Mapping[str, int],
    listed: Sequence[dict[str, Any]],
) -> tuple[dict[str, int], dict[str, int]]:
    """The special tokens, the end of a text first, and the other added ones.

    Args:
        folder: Where `tokenizer_config.json`, `special_tokens_map.json` and
            `added_tokens.json` are looked at, if they are there.
        vocabulary: The id of each token of the model, as its file writes them.
        listed: What `tokenizer.json` says of added tokens.

    Raises:
        ValueError: naming a token with two ids, or another than their library gives it;
            or that is cut out of a text in a way that ours does not know.
    """
    found: dict[str, Added] = {}
    for token in listed:
        _put(found, token, token["id"])
    described = configuration(folder).get("added_tokens_decoder") or {}
    for id, token in sorted(
        ((int(id), token) for id, token in described.items()), key=itemgetter(0)
    ):
        _put(found, token, id)
    written = {token["content"] for token in described.values()}
    if described and (lost := [text for text in found if text not in written]):
        raise ValueError(
            f"the added token {lost[0][:80]!r} is not in added_tokens_decoder of "
            "tokenizer_config.json, so that some of their classes forget it"
        )
    more = json_object(folder / "added_tokens.json")
    for content, id in sorted(more.items(), key=itemgetter(1)):
        _put(found, {"content": content}, id)
    roles = _roles(folder)
    for content, named in roles.items():
        known = found[content].id if content in found else vocabulary.get(content)
        if known is None:
            raise ValueError(f"{named[0]} {content[:80]!r} is none of its tokens")
        _put(found, {"content": content, "special": True}, known)
    _check_ids(found, vocabulary)
    _check_passes(found)
    in_order = sorted(found.items(), key=lambda item: item[1].id)
    special = {content: token.id for content, token in in_order if token.special}
    others = {content: token.id for content, token in in_order if not token.special}
    first = _end_of_text(folder, special, roles)
    return {content: special[content] for content in (*first, *special)}, others


def check_shared(
    special: Collection[str], others: Collection[str], ordinary: Collection[str]
) -> None:
    """Raise ValueError for an added token that is an ordinary one in another sense.

    Args:
        ordinary: The tokens that are single bytes or made by merging, as the files
            write them. In ours an added token may be one of these, with its id.
    """
    letters = gpt2_byte_characters()
    for content in special:
        if content in ordinary:
            raise ValueError(
                f"the special token {content[:80]!r} is an ordinary token too, so that "
                "what is typed could be taken for it"
            )
    for content in others:
        if content in ordinary:
            meant = bytes(map(letters.__getitem__, content))
            if meant != content.encode():
                raise ValueError(
                    f"the added token {content[:80]!r} has the id of the ordinary one "
                    f"that stands for {printable(meant, 80)}"
                )


def _put(found: dict[str, Added], token: dict[str, Any], id: int) -> None:
    """Add what a file says of a token to what others have said.

    Raises:
        ValueError: if it has two ids, or is cut out otherwise than ours are.
    """
    where = f"the added token {short(token.get('content'))}"
    content = check(token, ADDED_TOKEN, where)["content"]
    if len(content) > LONGEST:
        raise ValueError(f"{where} has more than {LONGEST:,} characters")
    known = found.setdefault(content, Added(id))
    if known.id != id:
        raise ValueError(f"{where} has two ids, {short(known.id)} and {short(id)}")
    known.special |= bool(token.get("special", False))
    if "normalized" in token:
        known.normalized.add(bool(token["normalized"]))


def _check_ids(found: Mapping[str, Added], vocabulary: Mapping[str, int]) -> None:
    """Raise ValueError unless ids are what their library gives, whatever a file says.

    A token that is in the vocabulary keeps its id; another one gets the next after all.
    """
    last = -1
    for content, token in found.items():
        given = vocabulary.get(content, max(len(vocabulary), last + 1))
        if token.id != given:
            raise ValueError(
                f"the added token {content[:80]!r} has two ids: the file says "
                f"{short(token.id)}, and its library gives it {given}"
            )
        last = max(last, given)


def _check_passes(found: Mapping[str, Added]) -> None:
    """Raise ValueError where one pass over a text finds other tokens than their two do.

    Where no token of the second begins before one of the first and reaches into it,
    nor holds one of the first, the longest at the leftmost place is theirs too.
    """
    first = {text for text, token in found.items() if token.normalized != {True}}
    later = [text for text, token in found.items() if token.normalized != {False}]
    lengths = sorted({len(text) for text in first})
    begun: dict[str, list[str]] = {}
    for text in first:
        for n in range(1, len(text)):
            begun.setdefault(text[:n], []).append(text)
    for text in later:
        ends = (text[n:] for n in range(1, len(text)))
        reaching = (other for end in ends for other in begun.get(end, ()))
        places = ((at, at + n) for n in lengths for at in range(len(text) - n + 1))
        held = (text[at:end] for at, end in places if text[at:end] in first)
        for other in (*held, *reaching):
            if other != text:
                raise ValueError(
                    f"the added tokens {text[:80]!r} and {other[:80]!r} overlap, and "
                    "normalized of one is True, that of the other is not"
                )


def _roles(folder: Path) -> dict[str, list[str]]:
    """The tokens that the two files of settings give a role, and the roles of each.

    GPT-2's class, which reads the two older files, gives its own end of text to three
    roles for which no token is named.
    """
    found: dict[str, list[str]] = {}
    described = json_object(folder / "special_tokens_map.json")
    check(described, dict.fromkeys([*ROLES, *MORE]), "special_tokens_map.json")
    for settings in (configuration(folder), described):
        for name in [*ROLES, *MORE]:
            value = settings.get(name) or []
            if isinstance(value, dict) and "content" not in value:
                value = list(value.values())  # by names of one's own
            for token in value if isinstance(value, list) else [value]:
                if isinstance(token, dict):
                    where = f"the added token {short(token.get('content'))}"
                    token = check(token, ADDED_TOKEN, where)["content"]
                found.setdefault(token, []).append(name)
    kind, single = configuration(folder).get("tokenizer_class"), "tokenizer.json"
    if kind in GPT2_CLASSES or not (folder / single).is_file():
        for role in ("bos_token", "eos_token", "unk_token"):
            if not any(role in names for names in found.values()):
                found.setdefault(END_OF_TEXT, []).append(role)
    return found


def _end_of_text(
    folder: Path, special: Mapping[str, int], roles: Mapping[str, list[str]]
) -> list[str]:
    """The special token that ends a text, if there is any.

    Raises:
        ValueError: if two files say two.
    """
    ends = [token for token, named in roles.items() if "eos_token" in named]
    if len(ends) > 1:
        raise ValueError(f"eos_token is {ends[0][:80]!r} and {ends[1][:80]!r}")
    stated = json_object(folder / "config.json").get("eos_token_id")
    ends += [token for token, id in special.items() if id == stated]
    ends += [token for token in USUAL_ENDS if token in special]
    if ends or not special:
        return ends[:1]
    first = min(special, key=special.__getitem__)
    if len(special) > 1:
        warnings.warn(
            f"no file says which of the special tokens {short([*special])} ends a "
            f"text; {first[:80]!r} is taken, say eos_token in tokenizer_config.json",
            UserWarning,
            stacklevel=2,
        )
    return [first]
