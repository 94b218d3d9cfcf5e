"""llama.cpp through its own C interface, as one of the engines of `cargo xtask bench inference`.

    python llamacpp_engine.py FILE THREADS

Reads lines `BATCH PROMPT TOKENS`; answers each with tokens per second of the prompts and of decoding. Tokens are given and
not chosen: a choice would cost what is not its own.
"""

import ctypes
import pathlib
import random
import sys
import time

import llama_cpp as llama

path, threads = sys.argv[1], int(sys.argv[2])
# Its log is for people who debug it.
silent = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(silent, ctypes.c_void_p(0))
llama.llama_backend_init()
params = llama.llama_model_default_params()
# With AMX this version repacks 8-bit weights for it and then dies of a segmentation fault.
params.use_extra_bufts = "amx_tile" not in pathlib.Path("/proc/cpuinfo").read_text()
model = llama.llama_model_load_from_file(path.encode(), params)
assert model, f"{path} does not load"
vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def context(batch, length):
    params = llama.llama_context_default_params()
    params.n_ctx = batch * length
    params.n_seq_max = batch
    params.n_batch = max(batch, 2048)
    params.n_threads = params.n_threads_batch = threads
    return llama.llama_init_from_model(model, params)


def fill(batch, rows):
    """`rows` are sequence, position, and whether logits are asked for."""
    for index, (sequence, position, wanted) in enumerate(rows):
        batch.token[index] = random.randrange(vocabulary)
        batch.pos[index] = position
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = sequence
        batch.logits[index] = wanted
    batch.n_tokens = len(rows)


def decode(ctx, batch, rows):
    fill(batch, rows)
    assert llama.llama_decode(ctx, batch) == 0, "llama_decode failed"
    llama.llama_synchronize(ctx)


def measure(count, prompt, tokens):
    ctx = context(count, prompt + tokens)
    batch = llama.llama_batch_init(2048, 0, 1)
    prompts = [(sequence, position, position + 1 == prompt) for sequence in range(count) for position in range(prompt)]
    start = time.perf_counter()
    for first in range(0, len(prompts), 2048):
        decode(ctx, batch, prompts[first : first + 2048])
    middle = time.perf_counter()
    for step in range(tokens - 1):
        decode(ctx, batch, [(sequence, prompt + step, True) for sequence in range(count)])
    end = time.perf_counter()
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)
    return count * prompt / (middle - start), count * (tokens - 1) / (end - middle)


print("ready", flush=True)
for line in sys.stdin:
    print(*measure(*map(int, line.split())), flush=True)
