"""A tiny Llama with random weights and its own tokenizer, made on the spot, so that a real engine can run anywhere.

Run as a file by an engine environment's Python: `python tiny_model.py FOLDER`. It imports nothing of tokenswarm.
Its answers are noise; what is real is everything around them: tokens, streams, caching, metrics, errors.

The tokenizer is a byte-level BPE trained on the English text of `pydoc_data.topics`, so prompts from the default corpus
come out at about 4 characters a token, as with real models. `<think>` and `</think>` are tokens of their own and stay
visible in text, so that reasoning parsers work. Same Python and libraries, same files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CONTEXT_LENGTH = 8192
VOCABULARY = 4096
_SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
_REASONING = ["<think>", "</think>"]
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% if tools %}<|tools|>\n{{ tools | tojson }}{{ eos_token }}\n{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] or '' }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def make_tokenizer() -> Any:
    """A trained `PreTrainedTokenizerFast` with the chat template."""
    from pydoc_data.topics import topics

    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(_REASONING),
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)], trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in _REASONING])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=CONTEXT_LENGTH,
    )
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped


def make_model(tokenizer: Any) -> Any:
    """A `LlamaForCausalLM` of about 3 million random weights in bfloat16."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=False,
        **ends,
    )
    config.architectures = ["LlamaForCausalLM"]
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(**ends)
    return model


def main() -> None:
    """Write tokenizer and model into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(tokenizer).save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    main()
