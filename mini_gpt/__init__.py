"""A GPT-2-style language model, built from scratch by the book that explains it.

>>> from mini_gpt import GPT, GPTConfig
>>> config = GPTConfig(vocab_size=84, context_length=64, layers=2, heads=2, width=32)
>>> model = GPT(config)
"""

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.data import BatchLoader, train_val_split
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import Generation, generate, generate_stream
from mini_gpt.gpt2 import from_huggingface, to_huggingface
from mini_gpt.loss import bits_per_byte, evaluate
from mini_gpt.model import GPT
from mini_gpt.run import TrainResult, train
from mini_gpt.sampling import SampleConfig
from mini_gpt.speculative import SpeculativeGeneration, speculative_generate
from mini_gpt.support.corpus import load_corpus, load_documents
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from mini_gpt.support.resizing import crop_context, resize_vocab
from mini_gpt.support.tokenizer_file import save_tokenizer
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer
from mini_gpt.trainer import TrainConfig

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "BPETokenizer",
    "BatchLoader",
    "CharTokenizer",
    "GPTConfig",
    "Generation",
    "SampleConfig",
    "SpeculativeGeneration",
    "TrainConfig",
    "TrainResult",
    "bits_per_byte",
    "count_parameters",
    "crop_context",
    "evaluate",
    "from_huggingface",
    "from_pretrained",
    "generate",
    "generate_stream",
    "load_corpus",
    "load_documents",
    "load_tokenizer",
    "resize_vocab",
    "save_pretrained",
    "save_tokenizer",
    "speculative_generate",
    "to_huggingface",
    "train",
    "train_val_split",
]
