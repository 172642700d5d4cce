"""A GPT-2-style language model, built from scratch by the book that explains it.

A model that has read Shakespeare comes with the package, and writes at once:

    from mini_gpt import from_pretrained, generate

    model, tokenizer = from_pretrained("shakespeare")
    print(generate(model, tokenizer, ["ROMEO."])[0].text)

To make one of your own, a text becomes ids, a `GPTConfig` a model, and `train` improves
it. The whole of it, in the order in which it is used:

Texts       load_corpus, load_documents, train_val_split, BatchLoader
Tokenizers  CharTokenizer, BPETokenizer, load_tokenizer, save_tokenizer
The model   GPT, GPTConfig, count_parameters, resize_vocab, crop_context
Training    train, TrainConfig, TrainResult
Measuring   evaluate, bits_per_byte
Writing     generate, generate_stream, SampleConfig, Generation,
            speculative_generate, SpeculativeGeneration
Keeping     from_pretrained, save_pretrained, from_huggingface, to_huggingface

`help(mini_gpt.generate)` explains one of them. Each chapter of the book has a module of
its name with more, for instance `mini_gpt.attention`. In a shell there is the command:
`mini-gpt --help`.

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

__version__ = "1.0.0"

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
