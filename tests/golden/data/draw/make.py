#!/usr/bin/env python3
"""Writes draws.json: the draw of `scoring/src/draw.rs`, from its module documentation alone.

BLAKE3 (inputs of one block) and ChaCha20 are written out here, so that nothing is shared with the Rust code.
Run it in this folder; it needs only Python 3.
"""

import json
import struct

M32 = 0xFFFFFFFF
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, ROOT, CONTEXT, MATERIAL = 1, 2, 8, 32, 64


def rotr(x, n):
    return (x >> n | x << (32 - n)) & M32


def rotl(x, n):
    return rotr(x, 32 - n)


def blake3_block(data, key, flags):
    """32 bytes of BLAKE3 of at most 64 bytes of data."""
    assert len(data) <= 64
    words = list(struct.unpack("<16I", data.ljust(64, b"\0")))
    flags |= CHUNK_START | CHUNK_END | ROOT
    v = key + IV[:4] + [0, 0, len(data), flags]

    def g(a, b, c, d, x, y):
        v[a] = (v[a] + v[b] + x) & M32
        v[d] = rotr(v[d] ^ v[a], 16)
        v[c] = (v[c] + v[d]) & M32
        v[b] = rotr(v[b] ^ v[c], 12)
        v[a] = (v[a] + v[b] + y) & M32
        v[d] = rotr(v[d] ^ v[a], 8)
        v[c] = (v[c] + v[d]) & M32
        v[b] = rotr(v[b] ^ v[c], 7)

    for _ in range(7):
        for n, (a, b, c, d) in enumerate([(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                                          (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]):
            g(a, b, c, d, words[2 * n], words[2 * n + 1])
        words = [words[i] for i in PERMUTATION]
    return struct.pack("<8I", *(v[i] ^ v[i + 8] for i in range(8)))


def derive_key(context, material):
    context_key = list(struct.unpack("<8I", blake3_block(context.encode(), IV, CONTEXT)))
    return blake3_block(material, context_key, MATERIAL)


def chacha20(key, stream):
    """The bytes of ChaCha20 with a 64-bit counter from 0 and a 64-bit stream number."""
    counter = 0
    while True:
        start = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", key))
        start += [counter & M32, counter >> 32, stream & M32, stream >> 32]
        v = start[:]

        def quarter(a, b, c, d):
            for x, y, z, n in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                v[x] = (v[x] + v[y]) & M32
                v[z] = rotl(v[z] ^ v[x], n)

        for _ in range(10):
            for a in range(4):
                quarter(a, a + 4, a + 8, a + 12)
            for a in range(4):
                quarter(a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
        yield from struct.pack("<16I", *((x + y) & M32 for x, y in zip(v, start)))
        counter += 1


def take(stream, count):
    return bytes(next(stream) for _ in range(count))


def generator(output, purpose, stream):
    return chacha20(derive_key("agon.scoring.draw.v1 " + purpose, output), stream)


def below(bound, stream):
    while True:
        number = int.from_bytes(take(stream, 8), "little")
        if number >= 2**64 % bound:
            return number % bound


def draw_uids(output, candidates, count):
    order = sorted(candidates, key=lambda pair: pair[0])
    stream = generator(output, "uids", 0)
    for last in range(len(order) - 1, 0, -1):
        other = below(last + 1, stream)
        order[last], order[other] = order[other], order[last]
    order.sort(key=lambda pair: -1 if pair[1] is None else pair[1])
    return [uid for uid, _ in order[:count]]


def case(output, candidates, count):
    return {
        "vrf_output": output.hex(),
        "candidates": candidates,
        "count": count,
        "uids": draw_uids(output, candidates, count),
        "item_seeds": [[i, take(generator(output, "item", i), 32).hex()] for i in (0, 1, 2**32 - 1)],
        "sampling_seeds": [
            [uid, i, int.from_bytes(take(generator(output, "sampling", uid << 32 | i), 8), "little")]
            for uid, i in ((0, 0), (0, 1), (1, 0), (65535, 2**32 - 1))
        ],
    }


def main():
    # The test vector of "abc" in the BLAKE3 paper's repository, so that a slip here is not made golden.
    assert blake3_block(b"abc", IV, 0).hex().startswith("6437b3ac38465133ffb63b75273a8db5")
    cases = [
        case(bytes(32), [[uid, None] for uid in range(10)], 4),
        case(bytes(range(32)), [[uid, uid % 3 or None] for uid in range(12)], 12),
        case(b"\xff" * 32, [[300, 5], [2, 2**63], [65535, 0], [17, None]], 3),
        case(bytes([7] * 32), [[uid, None] for uid in range(256)], 64),
    ]
    with open("draws.json", "w") as file:
        file.write("{\"cases\":[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]}\n")


main()
