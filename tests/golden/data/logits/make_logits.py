"""Makes the golden logits of `agon-model`: small random models, the tokens fed to them, and what transformers says.

Made with Python 3.11.7, torch 2.11.0 (CPU), transformers 5.23.0, safetensors 0.8.0:

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 transformers==5.23.0 safetensors
    venv/bin/python make_logits.py .

Each folder is a Hugging Face checkpoint, with `golden.safetensors` beside its parameters:

- `tokens`        int64 [texts, time]         two texts of the same length
- `logits`        f32   [texts, time, vocab]  logits after each token, computed in f32 with eager attention
- `logits_bf16`   f32   [texts, time, vocab]  the same with parameters and arithmetic in bf16

| folder            | what it covers                                                                    |
| ----------------- | --------------------------------------------------------------------------------- |
| llama             | grouped queries, head of its own, `config.json` of transformers 5, f32             |
| llama-v4-config   | `config.json` as transformers 4 wrote it, heads wider than hidden / heads, bf16    |
| qwen2             | biases, tied head, grouped queries, another theta, end-of-text in two places       |
| qwen2-sharded     | shards with an index, every query head with keys of its own, f16                   |
| llama3            | the scaling of Llama 3.1, texts of 40 tokens past an original context of 16        |
| llama-linear      | linear scaling, written as transformers 4 did                                      |
| llama-dynamic     | dynamic NTK scaling from 16 positions on; has `decode`, see below                  |
| mistral           | a sliding window of 8 tokens                                                       |
| qwen2-yarn        | YaRN from 16 positions on, a window of 12 tokens in the second layer               |
| qwen3             | norms on queries and keys, heads wider than hidden / heads, biases nowhere         |

Dynamic scaling looks at the length of the text when a key is made, so decoding differs from one long prompt:

- `decode`        f32   [texts, time - 20, vocab]  logits of single steps after a prompt of 20 tokens, with a cache

Parameters are drawn wide, so that attention is far from uniform and a wrong position or mask shows.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEXTS = 2
TIME = 24
VOCABULARY = 160
LONG = dict(vocabulary=96, time=40)
PROMPT = 20
SIZES = dict(vocab_size=VOCABULARY, num_hidden_layers=2, max_position_embeddings=64, initializer_range=0.2)


def tokenizer(vocabulary_size: int) -> dict:
    """Word level: token 0 ends the text, token 1 is unknown, the others are w2, w3, ..."""
    vocabulary = {"<end>": 0, "<unk>": 1} | {f"w{token}": token for token in range(2, vocabulary_size)}
    end = dict(id=0, content="<end>", single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(
        version="1.0", truncation=None, padding=None, added_tokens=[end], normalizer=None,
        pre_tokenizer=dict(type="WhitespaceSplit"), post_processor=None, decoder=None,
        model=dict(type="WordLevel", vocab=vocabulary, unk_token="<unk>"),
    )


def make(folder: Path, model, dtype: torch.dtype, vocabulary=VOCABULARY, time=TIME, **save) -> None:
    """Saves `model` in `dtype`, then the logits of what a loader of the saved parameters has."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    model.to(dtype).save_pretrained(folder, **save)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(vocabulary), separators=(",", ":")) + "\n")
    tokens = torch.randint(0, vocabulary, (TEXTS, time))
    golden = dict(tokens=tokens, logits=logits(type(model), folder, tokens, torch.float32))
    if time == TIME:
        golden["logits_bf16"] = logits(type(model), folder, tokens, torch.bfloat16)
    if (model.config.rope_parameters or {}).get("rope_type") == "dynamic":
        golden["decode"] = torch.stack([decode(type(model), folder, text) for text in tokens])
    save_file(golden, folder / "golden.safetensors")


def logits(family, folder: Path, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    model = family.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(input_ids=tokens).logits.float().contiguous()


def decode(family, folder: Path, text: torch.Tensor) -> torch.Tensor:
    """Logits after each token behind the prompt; a fresh model, for it remembers the longest text it saw."""
    model = family.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    found = []
    with torch.no_grad():
        cache = model(input_ids=text[None, :PROMPT], use_cache=True).past_key_values
        for token in text[PROMPT:]:
            step = model(input_ids=token[None, None], past_key_values=cache, use_cache=True)
            found.append(step.logits[0, -1].float())
    return torch.stack(found)


def rewrite_config_as_transformers_4(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    kind = parameters.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else dict(type=kind, **parameters)
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main(root: Path) -> None:
    torch.manual_seed(20)
    llama = LlamaConfig(
        **SIZES, hidden_size=48, intermediate_size=80, num_attention_heads=6, num_key_value_heads=2,
        tie_word_embeddings=False, rms_norm_eps=1e-5, eos_token_id=0, bos_token_id=None,
    )
    make(root / "llama", LlamaForCausalLM(llama), torch.float32)

    wide = LlamaConfig(
        **SIZES, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
        tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=500.0), eos_token_id=0,
        bos_token_id=None,
    )
    make(root / "llama-v4-config", LlamaForCausalLM(wide), torch.bfloat16)
    rewrite_config_as_transformers_4(root / "llama-v4-config")

    qwen2 = Qwen2Config(
        **SIZES, hidden_size=40, intermediate_size=72, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6), eos_token_id=[0, 7],
        bos_token_id=None,
    )
    make(root / "qwen2", Qwen2ForCausalLM(qwen2), torch.float32)

    sharded = Qwen2Config(
        **SIZES, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=4,
        tie_word_embeddings=False, eos_token_id=0, bos_token_id=None,
    )
    make(root / "qwen2-sharded", Qwen2ForCausalLM(sharded), torch.float16, max_shard_size="20KB")

    long = dict(vocab_size=LONG["vocabulary"], num_hidden_layers=2, initializer_range=0.2, hidden_size=32,
                intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, eos_token_id=0, bos_token_id=None)
    scaled = dict(rope_type="llama3", rope_theta=1e4, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=16)
    llama3 = LlamaConfig(**long, head_dim=16, max_position_embeddings=64, rope_parameters=scaled)
    make(root / "llama3", LlamaForCausalLM(llama3), torch.bfloat16, **LONG)

    linear = dict(rope_type="linear", rope_theta=1e4, factor=3.0)
    llama_linear = LlamaConfig(**long, max_position_embeddings=16, rope_parameters=linear)
    make(root / "llama-linear", LlamaForCausalLM(llama_linear), torch.bfloat16, **LONG)
    rewrite_config_as_transformers_4(root / "llama-linear")

    dynamic = dict(rope_type="dynamic", rope_theta=1e4, factor=4.0)
    llama_dynamic = LlamaConfig(**long, max_position_embeddings=16, rope_parameters=dynamic)
    make(root / "llama-dynamic", LlamaForCausalLM(llama_dynamic), torch.bfloat16, **LONG)

    mistral = MistralConfig(**long, max_position_embeddings=64, sliding_window=8)
    make(root / "mistral", MistralForCausalLM(mistral), torch.bfloat16, **LONG)

    yarn = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16)
    qwen2_yarn = Qwen2Config(**long, max_position_embeddings=16, rope_parameters=yarn, use_sliding_window=True,
                             sliding_window=12, max_window_layers=1)
    make(root / "qwen2-yarn", Qwen2ForCausalLM(qwen2_yarn), torch.bfloat16, **LONG)

    qwen3 = Qwen3Config(**long, head_dim=16, max_position_embeddings=64, tie_word_embeddings=True,
                        rope_parameters=dict(rope_type="default", rope_theta=1e6))
    make(root / "qwen3", Qwen3ForCausalLM(qwen3), torch.bfloat16, **LONG)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
