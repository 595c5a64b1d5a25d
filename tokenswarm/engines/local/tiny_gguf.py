"""The tiny random model as one GGUF file, for engines that load no other format: `python tiny_gguf.py FOLDER`.

The same tokenizer, chat template and sizes as tiny_model.py, which lies beside this file; other random weights, since
nothing here needs torch. Run by an engine environment's Python; it imports nothing of tokenswarm.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

FILE = "tiny-llama.gguf"
LAYERS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM = 2, 256, 512, 4, 2, 64
_SPREAD = 0.02


def write_tokenizer(writer: Any, tokenizer: Any) -> int:
    """The vocabulary, its merges and the chat template; returns how many tokens there are."""
    from gguf import TokenType

    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    by_id = {number: text for text, number in whole["model"]["vocab"].items()}
    special = {each["content"] for each in whole["added_tokens"] if each["special"]}
    added = {each["id"]: each["content"] for each in whole["added_tokens"]}
    tokens = [added.get(number, by_id.get(number)) for number in range(len(by_id | added))]
    kinds = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [kinds[text in special] if number in added else TokenType.NORMAL for number, text in enumerate(tokens)]
    )
    merges = whole["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)  # the chat template says it
    writer.add_chat_template(tokenizer.chat_template)
    return len(tokens)


def write_weights(writer: Any, vocabulary: int) -> None:
    """Random weights of every layer."""
    import numpy

    random = numpy.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, (random.standard_normal((rows, columns)) * _SPREAD).astype(numpy.float16))

    def ones(name: str) -> None:
        writer.add_tensor(name, numpy.ones(HIDDEN, numpy.float32))

    matrix("token_embd.weight", vocabulary, HIDDEN)
    ones("output_norm.weight")
    matrix("output.weight", vocabulary, HIDDEN)
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        ones(f"{at}.attn_norm.weight")
        matrix(f"{at}.attn_q.weight", HEADS * HEAD_DIM, HIDDEN)
        matrix(f"{at}.attn_k.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(f"{at}.attn_v.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(f"{at}.attn_output.weight", HIDDEN, HEADS * HEAD_DIM)
        ones(f"{at}.ffn_norm.weight")
        matrix(f"{at}.ffn_gate.weight", FEED_FORWARD, HIDDEN)
        matrix(f"{at}.ffn_up.weight", FEED_FORWARD, HIDDEN)
        matrix(f"{at}.ffn_down.weight", HIDDEN, FEED_FORWARD)


def main() -> None:
    """Write the file into the folder named on the command line."""
    from gguf import GGUFWriter, LlamaFileType

    beside = runpy.run_path(str(Path(__file__).with_name("tiny_model.py")))
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(folder / FILE, "llama")
    vocabulary = write_tokenizer(writer, beside["make_tokenizer"]())
    writer.add_name("tiny-llama")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(beside["CONTEXT_LENGTH"])
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-6)
    write_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
