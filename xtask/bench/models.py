"""Makes a random model twice, with the same numbers: a folder of Hugging Face's layout, and files for llama.cpp.

    python models.py SIZE DIR        SIZE is one of SHAPES
"""

import json
import pathlib
import sys

import gguf
import torch
from safetensors.torch import save_file

SHAPES = {
    "25M": dict(hidden=512, intermediate=1408, layers=6, heads=8, kv_heads=8, vocabulary=12_000),
    "120M": dict(hidden=768, intermediate=2304, layers=14, heads=12, kv_heads=4, vocabulary=32_000),
}
HEAD_DIM = 64
CONTEXT = 2048
EPSILON = 1e-5
THETA = 10_000.0

# Names of a layer's tensors on both sides.
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tensors_of(shape):
    hidden, keys = shape["hidden"], shape["kv_heads"] * HEAD_DIM
    inner = shape["intermediate"]
    sizes = [[hidden], [hidden, hidden], [keys, hidden], [keys, hidden], [hidden, hidden], [hidden]]
    sizes += [[inner, hidden], [inner, hidden], [hidden, inner]]
    torch.manual_seed(1)
    made = {"model.embed_tokens.weight": torch.randn(shape["vocabulary"], hidden) * 0.02}
    for layer in range(shape["layers"]):
        for name, size in zip(NAMES, sizes):
            numbers = torch.ones(size) if len(size) == 1 else torch.randn(size) * 0.02
            made[f"model.layers.{layer}.{name}.weight"] = numbers
    made["model.norm.weight"] = torch.ones(hidden)
    return {name: numbers.to(torch.bfloat16) for name, numbers in made.items()}


def write_folder(shape, tensors, folder):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": shape["vocabulary"],
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    words = {f"w{index}": index for index in range(shape["vocabulary"])}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def by_pairs(numbers, heads):
    """llama.cpp rotates neighbours, where Hugging Face's layout has the two halves of a head."""
    rows, columns = numbers.shape
    halves = numbers.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def write_gguf(shape, tensors, path, kind):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["intermediate"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(THETA)
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_tokenizer_model("none")
    heads = {"attn_q": shape["heads"], "attn_k": shape["kv_heads"]}
    for name, numbers in tensors.items():
        name, heads_turned = gguf_name(name, heads)
        numbers = numbers.float().numpy()
        if heads_turned:
            numbers = by_pairs(numbers, heads_turned)
        if numbers.ndim == 1:
            writer.add_tensor(name, numbers)
        else:
            packed = gguf.quants.quantize(numbers, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name, heads):
    """The name of a tensor in llama.cpp, and how many heads its rows have to be turned in."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name], None
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    inner = NAMES[rest.removesuffix(".weight")]
    return f"blk.{layer}.{inner}.weight", heads.get(inner)


def main():
    size, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    shape = SHAPES[size]
    tensors = tensors_of(shape)
    folder.mkdir(parents=True)
    write_folder(shape, tensors, folder / "model")
    for name, kind in [("bf16", gguf.GGMLQuantizationType.BF16), ("q8", gguf.GGMLQuantizationType.Q8_0)]:
        write_gguf(shape, tensors, folder / f"{name}.gguf", kind)
    print(sum(numbers.numel() for numbers in tensors.values()))


main()
