"""Writes a language model of a few hundred kilobytes with random weights, for the server of
llama.cpp: it speaks nonsense, and speaks the protocol.

    python tiny_model.py FILE.gguf
"""

import sys

import gguf
import numpy as np

WIDTH, INNER, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 2048
WORDS = "the replica copies its primary and waits a b c d e is of [1] [2] . , yes no".split()
# The words of the chat template, so that a prompt is not all single bytes.
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def vocabulary():
    """Tokens with their scores and kinds: three controls, every byte, and some words."""
    tokens = [("<unk>", 0.0, gguf.TokenType.UNKNOWN)]
    tokens += [(name, 0.0, gguf.TokenType.CONTROL) for name in ("<s>", "</s>")]
    tokens += [(f"<0x{byte:02X}>", 0.0, gguf.TokenType.BYTE) for byte in range(256)]
    tokens += [("\u2581" + word, -float(rank), gguf.TokenType.NORMAL) for rank, word in enumerate(WORDS)]
    return tokens


def main(path):
    random = np.random.default_rng(7)
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _, _ in tokens])
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([kind for _, _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)

    def add(name, *shape):
        writer.add_tensor(name, (random.standard_normal(shape) * 0.2).astype(np.float32))

    def add_ones(name):
        writer.add_tensor(name, np.ones(WIDTH, np.float32))

    add("token_embd.weight", len(tokens), WIDTH)
    # Bytes and controls are made unlikely, so that the nonsense is made of words.
    output = random.standard_normal((len(tokens), WIDTH)).astype(np.float32) * 0.2
    output[: len(tokens) - len(WORDS)] = 0
    writer.add_tensor("output.weight", output * 4)
    add_ones("output_norm.weight")
    for layer in range(LAYERS):
        add_ones(f"blk.{layer}.attn_norm.weight")
        add_ones(f"blk.{layer}.ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", INNER, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
