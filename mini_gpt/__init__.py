"""A GPT-2-style language model, built from scratch by the book that explains it.

>>> from mini_gpt import GPT, GPTConfig
>>> model = GPT(GPTConfig(vocab_size=84, context_length=64, layers=2, heads=2, width=32))
"""

from mini_gpt.data import BatchSource, load_corpus, load_documents, split_tokens
from mini_gpt.gpt2 import from_pretrained, save_pretrained, to_huggingface
from mini_gpt.model import GPT, GPTConfig, count_parameters
from mini_gpt.sampling import (
    Generation,
    SampleConfig,
    SpeculativeGeneration,
    generate,
    speculative_generate,
    stream,
)
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer, save_tokenizer
from mini_gpt.training import TrainConfig, TrainResult, bits_per_byte, evaluate, train

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "BPETokenizer",
    "BatchSource",
    "CharTokenizer",
    "GPTConfig",
    "Generation",
    "SampleConfig",
    "SpeculativeGeneration",
    "TrainConfig",
    "TrainResult",
    "bits_per_byte",
    "count_parameters",
    "evaluate",
    "from_pretrained",
    "generate",
    "load_corpus",
    "load_documents",
    "load_tokenizer",
    "save_pretrained",
    "save_tokenizer",
    "speculative_generate",
    "split_tokens",
    "stream",
    "to_huggingface",
    "train",
]
