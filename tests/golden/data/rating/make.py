#!/usr/bin/env python3
"""Writes cases.json: values, ratings, coincidences and weights, from the module documentation of `scoring` alone.

Values and tails are exact fractions here, so nothing is shared with the integer arithmetic of the Rust code.
Run it in this folder; it needs only Python 3.
"""

import json
import random
from fractions import Fraction
from math import comb, floor

PPM = 10**6
WINDOW = 256
random.seed(17)


def nearest(x):
    """To the nearest whole number, halves up."""
    return floor(x + Fraction(1, 2))


def odds(score):
    accepted = (Fraction(score, PPM) + Fraction(1, 2)) / 2
    return accepted / (1 - accepted)


def strength_of_rating(rating):
    wins = Fraction(1, 10) + Fraction(4, 10) * Fraction(rating, PPM)
    return 3 * wins / (1 - wins)


def value(score, anchor_score, anchor_rating):
    strength = odds(score) * strength_of_rating(anchor_rating) / odds(anchor_score)
    wins = strength / (strength + 3)
    share = (wins - Fraction(1, 10)) / Fraction(4, 10)
    return nearest(min(max(share, 0), 1) * PPM)


def rating(values):
    weight, weights = 1 << 32, []
    for _ in values:
        weights.insert(0, weight)
        weight = nearest(Fraction(weight * 985, 1000))
    return nearest(Fraction(sum(v * w for v, w in zip(values, weights)), sum(weights)))


def coincide(left, right):
    both = [(a, b) for a, b in zip(left, right) if a.isalpha() and b.isalpha()]
    same = sum(a == b and a.isupper() for a, b in both)
    different = sum(a != b for a, b in both)
    shared = same + different
    tail = sum(comb(shared, i) for i in range(different + 1))
    return tail * 2**20 <= 2**shared


def pay(standing, policy):
    uid, rating_ppm, verified, voices, work = standing
    floor_ppm, sharpness, _, verified_min, pays_work = policy
    if rating_ppm < floor_ppm or verified < verified_min:
        return 0
    power = 10**14
    for _ in range(sharpness):
        power = power * rating_ppm // PPM
    return power * (work if pays_work else 1) // voices


def row(pays, count_max):
    paid = sorted((-pay, uid) for uid, pay in pays if pay > 0)[:count_max]
    largest = -paid[0][0] if paid else 1
    scaled = sorted((uid, nearest(Fraction(-pay * 65535, largest))) for pay, uid in paid)
    return [[uid, weight] for uid, weight in scaled if weight]


def value_cases():
    edges = [0, 1, 250_000, 500_000, 999_999, PPM]
    cases = [(s, PPM, PPM) for s in edges] + [(s, s, 375_000) for s in edges[1:]]
    any_ppm = lambda: random.randint(0, PPM)
    cases += [(any_ppm(), random.randint(1, PPM), any_ppm()) for _ in range(60)]
    return [[*case, value(*case)] for case in cases]


def rating_cases():
    windows = [[random.choice([0, 375_000, PPM, random.randint(0, PPM)]) for _ in range(n)]
               for n in (1, 2, 3, 10, 95, 96, 200, WINDOW)]
    windows += [[PPM] * WINDOW, [0] * WINDOW, [PPM] + [0] * (WINDOW - 1), [0] * (WINDOW - 1) + [PPM]]
    return [{"values": values, "rating": rating(values)} for values in windows]


def answers_with(same, different, right, alone, silent):
    left = "A" * same + "B" * different + "r" * right + "A" * alone + "." * alone + "-" * silent
    return left, "A" * same + "C" * different + "r" * right + "." * alone + "A" * alone + "A" * silent


def coincidence_cases():
    cases = [answers_with(same, 0, 40, 0, 0) for same in (0, 19, 20)]
    for different in (1, 2, 5, 10, 20, 40, 60, 80):
        least = next(a for a in range(257) if coincide(*answers_with(a, different, 0, 0, 0)))
        cases += [answers_with(least + step, different, 10, 4, 3) for step in (-1, 0)]
    cases.append(answers_with(166, 90, 0, 0, 0))
    return [{"left": left, "right": right, "coincide": coincide(left, right)} for left, right in cases]


def weight_cases():
    cases = []
    for sharpness in (1, 2, 3, 8):
        for pays_work in (False, True):
            policy = [200_000, sharpness, random.choice([3, 4096]), 4, pays_work]
            standings = [[uid, random.choice([PPM, random.randint(100_000, PPM)]), random.randint(0, 20),
                          random.randint(1, 4), random.randint(0, 40)] for uid in range(12)]
            pays = [[standing[0], pay(standing, policy)] for standing in standings]
            cases.append({"policy": policy, "standings": standings, "pays": pays, "row": row(pays, policy[2])})
    return cases


def lines(cases):
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"


sections = {"values": value_cases(), "ratings": rating_cases(), "coincidences": coincidence_cases(),
            "weights": weight_cases()}
with open("cases.json", "w", encoding="utf-8") as file:
    file.write("{" + ",\n".join(f'"{name}": {lines(cases)}' for name, cases in sections.items()) + "}\n")
