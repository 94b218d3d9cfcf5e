"""transformers' `generate`, as one of the engines of `cargo xtask bench inference`.

    python transformers_engine.py FOLDER FORMAT THREADS

Reads lines `BATCH PROMPT TOKENS`; answers each with tokens per second of the prompts and of decoding.
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, dtype, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
model = AutoModelForCausalLM.from_pretrained(folder, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
model.eval()


def measure(batch, prompt, tokens):
    inputs = torch.randint(0, model.config.vocab_size, (batch, prompt))
    times = []

    def after_a_token(_ids, _scores, **_):
        times.append(time.perf_counter())
        return torch.zeros(batch, dtype=torch.bool)

    start = time.perf_counter()
    model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        stopping_criteria=[after_a_token],
    )
    return batch * prompt / (times[0] - start), batch * (tokens - 1) / (times[-1] - times[0])


print("ready", flush=True)
for line in sys.stdin:
    print(*measure(*map(int, line.split())), flush=True)
