//! Attention against sums in `f64`.

use super::*;
use crate::testing::{Numbers, relative_distance};

/// A cache whose keys and values are known.
struct Case {
    shape: CacheShape,
    group: usize,
    /// `[slot][position][head][head_dim]`
    keys: Vec<f32>,
    values: Vec<f32>,
    cache: Cache,
}

impl Case {
    fn new(shape: CacheShape, group: usize) -> Case {
        let mut numbers = Numbers::new(17);
        let count = shape.slots * shape.context_tokens * shape.kv_heads * shape.head_dim;
        let (keys, values) = (numbers.normal(count), numbers.normal(count));
        let mut cache = Cache::new(shape);
        for index in 0..count / shape.head_dim {
            let (head, rest) = (index % shape.kv_heads, index / shape.kv_heads);
            let place = [rest / shape.context_tokens, rest % shape.context_tokens, head];
            let range = index * shape.head_dim..(index + 1) * shape.head_dim;
            cache.write(place, &keys[range.clone()], &values[range]);
        }
        Case {
            shape,
            group,
            keys,
            values,
            cache,
        }
    }

    fn width(&self) -> usize {
        self.group * self.shape.kv_heads * self.shape.head_dim
    }

    fn attend(&self, level: Level, threads: usize, queries: &[Query], heads: &[f32]) -> Vec<f32> {
        let mut mixed = Mixed::default();
        let mut pool = Pool::new(threads);
        attend(
            level,
            &mut pool,
            &self.cache,
            self.group,
            queries,
            (heads, self.width()),
            &mut mixed,
        );
        let mut out = vec![0.0; heads.len()];
        for (token, out) in out.chunks_mut(self.width()).enumerate() {
            mixed.read(token, out);
        }
        out
    }

    fn vector<'a>(&self, of: &'a [f32], slot: usize, position: usize, head: usize) -> &'a [f32] {
        let CacheShape {
            context_tokens,
            kv_heads,
            head_dim,
            ..
        } = self.shape;
        &of[((slot * context_tokens + position) * kv_heads + head) * head_dim..][..head_dim]
    }

    fn reference(&self, queries: &[Query], heads: &[f32]) -> Vec<f64> {
        let dim = self.shape.head_dim;
        let mut out = Vec::new();
        let mut token = heads.chunks(self.width());
        for query in queries {
            for position in query.start..query.start + query.tokens {
                let heads = token.next().unwrap();
                for (head, query_head) in heads.chunks(dim).enumerate() {
                    out.extend(self.reference_head(
                        query.slot,
                        (position + 1).saturating_sub(query.window)..position + 1,
                        head / self.group,
                        query_head,
                    ));
                }
            }
        }
        out
    }

    fn reference_head(
        &self,
        slot: usize,
        seen: std::ops::Range<usize>,
        head: usize,
        query: &[f32],
    ) -> Vec<f64> {
        let dot = |key: &[f32]| -> f64 {
            key.iter()
                .zip(query)
                .map(|(k, q)| f64::from(*k) * f64::from(*q))
                .sum()
        };
        let scores: Vec<f64> = seen
            .clone()
            .map(|at| dot(self.vector(&self.keys, slot, at, head)) / (query.len() as f64).sqrt())
            .collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        (0..query.len())
            .map(|index| {
                let terms = powers.iter().zip(seen.clone()).map(|(power, at)| {
                    power / sum * f64::from(self.vector(&self.values, slot, at, head)[index])
                });
                terms.sum()
            })
            .collect()
    }
}

fn shape(context_tokens: usize, kv_heads: usize, head_dim: usize) -> CacheShape {
    CacheShape {
        slots: 3,
        context_tokens,
        kv_heads,
        head_dim,
    }
}

const QUERIES: [Query; 4] = [
    Query {
        slot: 1,
        start: 0,
        tokens: 1,
        window: usize::MAX,
    },
    Query {
        slot: 0,
        start: 3,
        tokens: 5,
        window: usize::MAX,
    },
    Query {
        slot: 2,
        start: 99,
        tokens: 1,
        window: 12,
    },
    Query {
        slot: 1,
        start: 30,
        tokens: 41,
        window: 7,
    },
];

#[test]
fn attention_agrees_with_f64_over_odd_shapes() {
    for (kv_heads, group, head_dim) in [
        (1, 1, 8),
        (2, 3, 16),
        (4, 2, 24),
        (2, 7, 32),
        (1, 4, 48),
        (2, 2, 64),
        (1, 3, 80),
        (2, 1, 128),
    ] {
        let case = Case::new(shape(100, kv_heads, head_dim), group);
        let heads = Numbers::new(3).normal(48 * case.width());
        let expected = case.reference(&QUERIES, &heads);
        for level in Level::available() {
            let found = case.attend(level, 2, &QUERIES, &heads);
            let distance = relative_distance(&found, &expected);
            assert!(
                distance < 1e-5,
                "{kv_heads} {group} {head_dim} {level}: {distance:e}"
            );
        }
    }
}

#[test]
fn a_token_comes_to_the_same_alone_and_among_others() {
    let case = Case::new(shape(200, 2, 64), 3);
    let all = [Query {
        slot: 1,
        start: 50,
        tokens: 100,
        window: usize::MAX,
    }];
    let width = case.width();
    let heads = Numbers::new(5).normal(100 * width);
    for level in Level::available() {
        let together = case.attend(level, 2, &all, &heads);
        for token in [0, 13, 14, 99] {
            let one = [Query {
                slot: 1,
                start: 50 + token,
                tokens: 1,
                window: usize::MAX,
            }];
            let range = token * width..(token + 1) * width;
            assert_eq!(
                case.attend(level, 1, &one, &heads[range.clone()]),
                together[range],
                "{token} {level}"
            );
        }
    }
}

#[test]
fn a_copied_slot_answers_like_the_first() {
    for head_dim in [16, 32, 80] {
        let mut case = Case::new(shape(150, 2, head_dim), 1);
        let heads = Numbers::new(6).normal(case.width());
        let query = |slot| {
            [Query {
                slot,
                start: 70,
                tokens: 1,
                window: usize::MAX,
            }]
        };
        let level = Level::detect();
        let expected = case.attend(level, 1, &query(2), &heads);
        assert_ne!(case.attend(level, 1, &query(0), &heads), expected);
        case.cache.copy_slot(2, 0, 71);
        assert_eq!(case.attend(level, 1, &query(0), &heads), expected);
    }
}

#[test]
fn a_query_that_is_not_a_number_gives_no_number() {
    let case = Case::new(shape(70, 1, 16), 1);
    for level in Level::available() {
        let mut heads = vec![1.0; 16];
        heads[3] = f32::NAN;
        let query = [Query {
            slot: 0,
            start: 65,
            tokens: 1,
            window: usize::MAX,
        }];
        let found = case.attend(level, 1, &query, &heads);
        assert!(found.iter().all(|number| number.is_nan()), "{level}");
    }
}

#[test]
fn what_an_earlier_text_left_behind_the_seen_positions_has_no_effect() {
    let mut case = Case::new(shape(100, 1, 32), 2);
    let heads = Numbers::new(8).normal(64);
    let query = [Query {
        slot: 0,
        start: 40,
        tokens: 1,
        window: usize::MAX,
    }];
    let expected = case.attend(Level::detect(), 1, &query, &heads);
    for position in 41..100 {
        case.cache
            .write([0, position, 0], &[f32::NAN; 32], &[f32::NAN; 32]);
    }
    assert_eq!(case.attend(Level::detect(), 1, &query, &heads), expected);
}
