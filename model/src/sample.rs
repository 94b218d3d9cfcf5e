//! Chooses the next token from logits: the same logits and seed give the same token on every machine that agrees on
//! `f64` logarithms.
//!
//! Logits are rounded to a grid of [`GRID`] steps per unit first, so that what differs in the last bits only is a
//! tie, and ties go to the lower token.
//!
//! The draw is the Gumbel-max trick: to each candidate's log-probability is added the noise of its own, and the
//! largest sum wins, which draws exactly by probability. The noise of a token depends on (seed, position in the
//! answer, token id) alone and can be computed for any token by itself, so whoever knows the seed can check a token
//! against logits of their own: small differences in logits change the winner only where two sums were nearly equal.
//!
//! Noise: ChaCha20 with the seed as key (eight bytes, little-endian, then [`NOISE_CONTEXT`]), the position as
//! stream, and the two words at `2 * token`, read as one `u64`, low word first. Its upper 52 bits `b` become
//! `u = (b + 1/2) / 2^52` and the noise `-ln(-ln(u))`. Source: Gumbel, "Statistical theory of extreme values" (1954);
//! Maddison et al., "A* sampling" (2014).

use std::cmp::Ordering;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::request::Sampling;

/// Fills the key behind the seed, so that no other use of ChaCha20 with that seed shares this noise.
const NOISE_CONTEXT: &[u8; 24] = b"agon token sampling v1  ";
/// Steps of the logits' grid in one unit. A power of two, so that rounding to it is exact.
const GRID: f32 = 1024.0;
/// No margin is larger, in logits; a token that cannot be drawn at all has this one.
pub const MARGIN_MAX: f32 = 64.0;
/// Below this distance it is cheaper to read on than to seek.
const READ_ON_TOKENS: u32 = 32;

/// How one answer's tokens are chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) sampling: Sampling,
    /// Tokens that end the text.
    pub(crate) end_of_text: &'a [u32],
    /// The end of the text cannot be chosen before this many tokens.
    pub(crate) tokens_min: u32,
}

/// A token and the logarithm of its probability at the wanted temperature, up to a constant; the best has 0.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: u32,
    score: f64,
}

impl Rule<'_> {
    /// Chooses the token at `position` of the answer, or `None` if a logit is not a number or none is finite.
    ///
    /// Of equal candidates the one with the lower id wins.
    pub(crate) fn choose(&self, logits: &[f32], position: u32) -> Option<u32> {
        let logits = self.prepared(logits, position)?;
        let best = most_likely(&logits)?;
        if self.sampling.temperature == 0.0 {
            return Some(best);
        }
        let candidates = self.candidates(&logits, best);
        winner(&candidates, &mut self.noise(position)).map(|(token, _)| token)
    }

    /// How far `token` is from being chosen at `position`: 0 when it is, else by how much its logit would have to
    /// grow, at most [`MARGIN_MAX`]. `None` where [`Rule::choose`] gives none.
    ///
    /// A token outside `top_k` or `top_p` also has to grow by what it lacks to the least likely one inside.
    pub(crate) fn margin(&self, logits: &[f32], position: u32, token: u32) -> Option<f32> {
        let logits = self.prepared(logits, position)?;
        let best = most_likely(&logits)?;
        let given = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        if !given.is_finite() {
            return Some(MARGIN_MAX);
        }
        if self.sampling.temperature == 0.0 && token == best {
            return Some(0.0);
        }
        if self.sampling.temperature == 0.0 {
            return Some(bounded(f64::from(logits[best as usize] - given)));
        }
        let candidates = self.candidates(&logits, best);
        let temperature = f64::from(self.sampling.temperature);
        let score = f64::from(given - logits[best as usize]) / temperature;
        let least = candidates
            .iter()
            .map(|candidate| candidate.score)
            .fold(0.0, f64::min);
        let is_inside = candidates
            .binary_search_by_key(&token, |candidate| candidate.token)
            .is_ok();
        let lacks = if is_inside { 0.0 } else { (least - score).max(0.0) };
        let (chosen, sum) = winner(&candidates, &mut self.noise(position))?;
        if chosen == token {
            return Some(0.0);
        }
        let behind = (sum - score - self.noise(position).of(token)).max(0.0);
        Some(bounded((behind + lacks) * temperature))
    }

    /// Logits on the grid, without what cannot be chosen at `position`; `None` if one is not a number.
    fn prepared(&self, logits: &[f32], position: u32) -> Option<Vec<f32>> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return None;
        }
        // Adding zero turns the negative zero into the other, so that the two are one.
        let mut rounded: Vec<f32> = logits
            .iter()
            .map(|logit| (logit * GRID).round() / GRID + 0.0)
            .collect();
        if position < self.tokens_min {
            for &token in self.end_of_text {
                if let Some(logit) = rounded.get_mut(token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Some(rounded)
    }

    /// The tokens that are drawn from, by id.
    fn candidates(&self, logits: &[f32], best: u32) -> Vec<Candidate> {
        let mut candidates = candidates(logits, best, self.sampling.temperature);
        keep_top_k(&mut candidates, self.sampling.top_k);
        keep_top_p(&mut candidates, self.sampling.top_p);
        candidates
    }

    fn noise(&self, position: u32) -> Noise {
        Noise::new(self.sampling.seed, position)
    }
}

/// A margin in range: one that was lost by the order of ties alone is the smallest that is not 0.
fn bounded(margin: f64) -> f32 {
    (margin as f32).clamp(f32::MIN_POSITIVE, MARGIN_MAX)
}

/// The lowest token among those with the largest logit.
fn most_likely(logits: &[f32]) -> Option<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.1.is_finite().then_some(best.0)
}

/// All tokens that have a chance, by id.
fn candidates(logits: &[f32], best: u32, temperature: f32) -> Vec<Candidate> {
    let top = f64::from(logits[best as usize]);
    (0..)
        .zip(logits)
        .filter(|(_, logit)| logit.is_finite())
        .map(|(token, &logit)| Candidate {
            token,
            score: (f64::from(logit) - top) / f64::from(temperature),
        })
        .collect()
}

/// Most likely first; of equals the lower id.
fn by_likelihood(left: &Candidate, right: &Candidate) -> Ordering {
    right
        .score
        .total_cmp(&left.score)
        .then(left.token.cmp(&right.token))
}

/// Keeps the `top_k` most likely, in order of id; 0 keeps all.
fn keep_top_k(candidates: &mut Vec<Candidate>, top_k: u32) {
    let count = top_k as usize;
    if count == 0 || count >= candidates.len() {
        return;
    }
    candidates.select_nth_unstable_by(count - 1, by_likelihood);
    candidates.truncate(count);
    candidates.sort_unstable_by_key(|candidate| candidate.token);
}

/// Keeps the smallest set of most likely tokens whose probabilities sum to `top_p` or more, in order of id.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: f32) {
    if top_p >= 1.0 {
        return;
    }
    let share = f64::from(top_p);
    let total: f64 = candidates.iter().map(|candidate| candidate.score.exp()).sum();
    // All tokens below this together have less than `1 - top_p`, so none is in the set: no need to sort them.
    let floor = (1.0 - share) * total / candidates.len() as f64;
    candidates.retain(|candidate| candidate.score.exp() >= floor);
    candidates.sort_unstable_by(by_likelihood);
    let mut sum = 0.0;
    let reaching = candidates.iter().position(|candidate| {
        sum += candidate.score.exp();
        sum >= share * total
    });
    candidates.truncate(reaching.map_or(candidates.len(), |index| index + 1));
    candidates.sort_unstable_by_key(|candidate| candidate.token);
}

/// The candidate with the largest sum of score and noise, and that sum.
fn winner(candidates: &[Candidate], noise: &mut Noise) -> Option<(u32, f64)> {
    let mut winner: Option<(u32, f64)> = None;
    for &Candidate { token, score } in candidates {
        let sum = score + noise.of(token);
        if winner.is_none_or(|(_, best)| sum > best) {
            winner = Some((token, sum));
        }
    }
    winner
}

/// The noise of one position, read in order of token id.
struct Noise {
    stream: ChaCha20Rng,
    /// The token whose noise the stream gives next.
    next: u32,
}

impl Noise {
    fn new(seed: u64, position: u32) -> Noise {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(NOISE_CONTEXT);
        let mut stream = ChaCha20Rng::from_seed(key);
        stream.set_stream(u64::from(position));
        Noise { stream, next: 0 }
    }

    fn of(&mut self, token: u32) -> f64 {
        match token.checked_sub(self.next) {
            Some(ahead) if ahead < READ_ON_TOKENS => {
                for _ in 0..ahead {
                    self.stream.next_u64();
                }
            }
            _ => self.stream.set_word_pos(2 * u128::from(token)),
        }
        self.next = token.saturating_add(1);
        gumbel(self.stream.next_u64())
    }
}

/// Uniform bits as Gumbel noise; finite for every input, since `b + 1/2` with 52 bits is exact.
fn gumbel(bits: u64) -> f64 {
    let uniform = ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    -(-uniform.ln()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(temperature: f32, top_p: f32, top_k: u32, seed: u64) -> Rule<'static> {
        Rule {
            sampling: Sampling {
                temperature,
                top_p,
                top_k,
                seed,
            },
            end_of_text: &[],
            tokens_min: 0,
        }
    }

    /// How often each token is drawn from `logits` over many seeds.
    fn histogram(logits: &[f32], temperature: f32, top_p: f32, top_k: u32, draws: u64) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for seed in 0..draws {
            let token = rule(temperature, top_p, top_k, seed).choose(logits, 0).unwrap();
            counts[token as usize] += 1.0 / draws as f64;
        }
        counts
    }

    #[track_caller]
    fn check_shares(logits: &[f32], settings: (f32, f32, u32), expected: &[f64]) {
        let found = histogram(logits, settings.0, settings.1, settings.2, 40_000);
        for (found, expected) in found.iter().zip(expected) {
            // Four standard deviations of a share over 40,000 draws are at most 0.01.
            assert!(
                (found - expected).abs() < 0.01,
                "{found} for {expected} with {settings:?}"
            );
            assert!(
                *expected > 0.0 || *found == 0.0,
                "drew an excluded token with {settings:?}"
            );
        }
    }

    /// Logits of the probabilities 0.5, 0.25, 0.15, 0.1 in another order.
    fn logits() -> [f32; 4] {
        [0.15f32.ln(), 0.5f32.ln(), 0.1f32.ln(), 0.25f32.ln()]
    }

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        check_shares(&logits(), (1.0, 1.0, 0), &[0.15, 0.5, 0.1, 0.25]);
    }

    #[test]
    fn temperature_sharpens_and_flattens() {
        let squares = 0.15f64.powi(2) + 0.25 + 0.01 + 0.0625;
        let sharp = [0.0225, 0.25, 0.01, 0.0625].map(|square| square / squares);
        check_shares(&logits(), (0.5, 1.0, 0), &sharp);
        check_shares(&logits(), (1e6, 1.0, 0), &[0.25; 4]);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail_and_keep_the_proportions() {
        check_shares(&logits(), (1.0, 1.0, 2), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        check_shares(&logits(), (1.0, 0.7, 0), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        check_shares(
            &logits(),
            (1.0, 0.76, 0),
            &[0.15 / 0.9, 0.5 / 0.9, 0.0, 0.25 / 0.9],
        );
        check_shares(&logits(), (1.0, 1e-6, 0), &[0.0, 1.0, 0.0, 0.0]);
        check_shares(&logits(), (1.0, 1.0, 1), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn ties_go_to_the_lower_token() {
        assert_eq!(rule(0.0, 1.0, 0, 1).choose(&[0.0, 2.0, 2.0, 1.0], 0), Some(1));
        assert_eq!(rule(1.0, 1.0, 1, 1).choose(&[2.0; 5], 0), Some(0));
    }

    #[test]
    fn logits_that_differ_by_less_than_the_grid_are_ties() {
        let nearly = [1.0, 2.0, 2.0 + 0.4 / GRID];
        assert_eq!(rule(0.0, 1.0, 0, 1).choose(&nearly, 0), Some(1));
        assert_eq!(
            rule(0.0, 1.0, 0, 1).choose(&[1.0, 2.0, 2.0 + 1.0 / GRID], 0),
            Some(2)
        );
    }

    #[test]
    fn one_seed_draws_one_series_and_another_seed_another() {
        let series = |seed| {
            (0..32)
                .map(|position| rule(1.0, 1.0, 0, seed).choose(&[0.0; 16], position).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(series(7), series(7));
        assert_ne!(series(7), series(8));
        // Positions differ as well: a constant series would mean that the position is not part of the noise.
        assert!(series(7).iter().any(|token| *token != series(7)[0]));
    }

    #[test]
    fn the_noise_of_a_token_does_not_depend_on_what_was_read_before() {
        let in_order: Vec<f64> = {
            let mut noise = Noise::new(3, 5);
            (0..200).map(|token| noise.of(token)).collect()
        };
        for token in [0u32, 1, 31, 32, 33, 100, 199] {
            assert_eq!(Noise::new(3, 5).of(token), in_order[token as usize]);
        }
        let mut skipping = Noise::new(3, 5);
        for token in [2u32, 20, 90, 91, 199] {
            assert_eq!(skipping.of(token), in_order[token as usize]);
        }
    }

    #[test]
    fn the_noise_is_what_another_implementation_computes() {
        let mut noise = Noise::new(1, 0);
        let found = [noise.of(0), noise.of(1), noise.of(1000), Noise::new(1, 3).of(7)];
        for (found, expected) in found.iter().zip(PINNED) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    /// Computed apart from this code, with a ChaCha20 of its own.
    const PINNED: [f64; 4] = [
        0.01677015077314969,
        -1.2065757345834356,
        0.418734181251496,
        0.9547114745620671,
    ];

    #[test]
    fn logits_that_are_not_numbers_choose_nothing() {
        let choose = |logits: &[f32]| rule(1.0, 0.9, 3, 1).choose(logits, 0);
        assert_eq!(choose(&[0.0, f32::NAN]), None);
        assert_eq!(choose(&[f32::NEG_INFINITY; 3]), None);
        assert_eq!(choose(&[0.0, f32::INFINITY]), None);
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[f32::NEG_INFINITY, 1.0]), Some(1));
    }

    #[test]
    fn the_end_of_the_text_waits_for_the_least_number_of_tokens() {
        let rule = Rule {
            end_of_text: &[1],
            tokens_min: 2,
            ..rule(0.0, 1.0, 0, 1)
        };
        let logits = [0.0, 5.0, 1.0];
        let chosen: Vec<u32> = (0..3)
            .map(|position| rule.choose(&logits, position).unwrap())
            .collect();
        assert_eq!(chosen, [2, 2, 1]);
        assert_eq!(rule.margin(&logits, 0, 1), Some(MARGIN_MAX));
        assert_eq!(rule.margin(&logits, 2, 1), Some(0.0));
    }

    #[test]
    fn the_chosen_token_has_no_margin_and_every_other_has_one() {
        for (temperature, top_p, top_k) in [(0.0, 1.0, 0), (1.0, 1.0, 0), (0.7, 0.9, 0), (1.3, 1.0, 2)] {
            for seed in 0..200 {
                let rule = rule(temperature, top_p, top_k, seed);
                let chosen = rule.choose(&logits(), 3).unwrap();
                for token in 0..4 {
                    let margin = rule.margin(&logits(), 3, token).unwrap();
                    assert_eq!(margin == 0.0, token == chosen, "{token} of {rule:?}: {margin}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_chosen_once_its_logit_grows_by_its_margin() {
        for seed in 0..200 {
            let rule = rule(1.0, 1.0, 0, seed);
            for token in 0..4u32 {
                let margin = rule.margin(&logits(), 0, token).unwrap();
                let mut grown = logits();
                grown[token as usize] += margin + 2.0 / GRID;
                assert_eq!(rule.choose(&grown, 0), Some(token));
            }
        }
    }

    #[test]
    fn a_token_that_the_model_does_not_have_has_the_largest_margin() {
        assert_eq!(rule(1.0, 1.0, 0, 1).margin(&logits(), 0, 4), Some(MARGIN_MAX));
        assert_eq!(
            rule(0.0, 1.0, 0, 1).margin(&logits(), 0, u32::MAX),
            Some(MARGIN_MAX)
        );
    }

    #[test]
    fn noise_is_finite_at_both_ends() {
        assert!(gumbel(0).is_finite() && gumbel(u64::MAX).is_finite());
    }
}
