//! The order in which waiting requests begin: heavier askers sooner, equals in turn, nobody never.
//!
//! Self-clocked fair queueing (Golestani, "A self-clocked fair queueing scheme for broadband applications", 1994):
//! each request gets a *finish*, the asker's newest finish or the virtual time, whichever is later, plus its tokens
//! divided by the asker's weight. The smallest finish begins first, and the virtual time is the finish of the one
//! that began last. An asker with twice the weight thus gets twice the tokens while both wait, and what an asker
//! adds to a long line of its own delays itself alone. All numbers are integers, and equal ones go by arrival.
//!
//! A full line keeps whoever would begin soonest. Each asker's first request has a seat before anybody's second, so
//! that a light asker gets in, and then its finish stands while the virtual time comes nearer.
//!
//! No thread and no clock. What is known of an asker is in what waits, so nothing outlasts the line.

use std::collections::{BTreeMap, VecDeque};

/// Who asks, as far as a line can tell them apart; those who did not say are one.
pub(crate) type AskerKey = Option<[u8; 32]>;

/// A whole share, parts per million.
const WHOLE_PPM: u64 = 1_000_000;
/// The least weight, parts per million: an asker without stake still gets a hundredth of what the whole gets.
const WEIGHT_PPM_MIN: u64 = 10_000;
/// One asker that said who it is holds at most one place of this many, however empty the line is.
const ASKER_PART: usize = 2;

/// Where in the order something stands: its finish, then its arrival.
type Place = (u64, u64);

/// What takes a place, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) asker: AskerKey,
    /// Share of all weight, parts per million.
    pub(crate) share_ppm: u32,
    /// Tokens that it may come to.
    pub(crate) tokens: u64,
}

/// Why something did not get a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Everything that waits begins before it would.
    Full { limit: usize },
    /// Its asker holds as many places as one may.
    AskerFull { limit: usize },
}

#[derive(Debug)]
struct Waiting<T> {
    asker: AskerKey,
    item: T,
}

/// What waits, in the order in which it begins.
#[derive(Debug)]
pub(crate) struct Line<T> {
    waiting: BTreeMap<Place, Waiting<T>>,
    /// Places of each asker, in order; never empty.
    askers: BTreeMap<AskerKey, VecDeque<Place>>,
    limit: usize,
    now: u64,
    arrivals: u64,
}

impl<T> Line<T> {
    pub(crate) fn new(limit: usize) -> Line<T> {
        Line {
            waiting: BTreeMap::new(),
            askers: BTreeMap::new(),
            limit,
            now: 0,
            arrivals: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    /// Askers that have something waiting.
    pub(crate) fn askers(&self) -> usize {
        self.askers.len()
    }

    /// Gives `item` a place; returns what had to leave for it.
    pub(crate) fn push(&mut self, ticket: Ticket, item: T) -> Result<Option<T>, Refused> {
        let own = self.askers.get(&ticket.asker);
        let asker_limit = (self.limit / ASKER_PART).max(1);
        if ticket.asker.is_some() && own.is_some_and(|own| own.len() >= asker_limit) {
            return Err(Refused::AskerFull { limit: asker_limit });
        }
        let newest = own.and_then(VecDeque::back).map_or(0, |&(finish, _)| finish);
        let finish = self.now.max(newest).saturating_add(ticket.charge());
        let leaves = match self.is_full() {
            true => Some(self.leaves_for(finish, own.is_none())?),
            false => None,
        };
        let left = leaves.and_then(|place| self.remove(place));
        let place = (finish, self.arrivals);
        self.arrivals += 1;
        self.askers.entry(ticket.asker).or_default().push_back(place);
        let asker = ticket.asker;
        self.waiting.insert(place, Waiting { asker, item });
        Ok(left)
    }

    /// Who leaves a full line for a newcomer with this finish.
    fn leaves_for(&self, finish: u64, is_first: bool) -> Result<Place, Refused> {
        let refused = Refused::Full { limit: self.limit };
        let is_first_of_its_asker =
            |place: &Place, waiting: &Waiting<T>| self.askers[&waiting.asker].front() == Some(place);
        let last_second = self
            .waiting
            .iter()
            .rev()
            .find(|(place, waiting)| !is_first_of_its_asker(place, waiting));
        let (place, wins) = match (last_second, self.waiting.last_key_value()) {
            (Some((&place, _)), _) => (place, is_first || finish < place.0),
            (None, Some((&place, _))) => (place, is_first && finish < place.0),
            (None, None) => return Err(refused),
        };
        if wins { Ok(place) } else { Err(refused) }
    }

    /// What begins next.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let (&place, _) = self.waiting.first_key_value()?;
        self.now = place.0;
        let item = self.remove(place);
        if self.waiting.is_empty() {
            // Nobody waits, so nobody has waited longer than another.
            self.now = 0;
        }
        item
    }

    /// Takes out whatever `leaves` says so of, in order.
    pub(crate) fn take_out(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let leaving = self.waiting.iter().filter(|(_, waiting)| leaves(&waiting.item));
        let places: Vec<Place> = leaving.map(|(&place, _)| place).collect();
        places
            .into_iter()
            .filter_map(|place| self.remove(place))
            .collect()
    }

    fn remove(&mut self, place: Place) -> Option<T> {
        let Waiting { asker, item } = self.waiting.remove(&place)?;
        if let Some(own) = self.askers.get_mut(&asker) {
            own.retain(|&other| other != place);
            if own.is_empty() {
                self.askers.remove(&asker);
            }
        }
        Some(item)
    }
}

impl Ticket {
    /// Tokens over weight.
    fn charge(&self) -> u64 {
        let weight_ppm = u64::from(self.share_ppm).clamp(WEIGHT_PPM_MIN, WHOLE_PPM);
        self.tokens.saturating_mul(WHOLE_PPM) / weight_ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an asker puts into a line: (asker, share in percent, tokens).
    type Asked = (u8, u32, u64);

    fn ticket((asker, share_percent, tokens): Asked) -> Ticket {
        Ticket {
            asker: (asker > 0).then_some([asker; 32]),
            share_ppm: share_percent * 10_000,
            tokens,
        }
    }

    /// A line of what each of `asked` put into it, named by its index.
    fn line(limit: usize, asked: &[Asked]) -> Line<usize> {
        let mut line = Line::new(limit);
        for (index, &one) in asked.iter().enumerate() {
            assert_eq!(line.push(ticket(one), index), Ok(None));
        }
        line
    }

    fn order(mut line: Line<usize>) -> Vec<usize> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[track_caller]
    fn check(asked: &[Asked], expected: &[usize]) {
        assert_eq!(order(line(100, asked)), expected);
    }

    /// What happens to one more in a full line.
    #[track_caller]
    fn check_full(limit: usize, asked: &[Asked], newcomer: Asked, expected: Result<usize, Refused>) {
        let mut line = line(limit, asked);
        let found = line.push(ticket(newcomer), asked.len());
        assert_eq!(found.map(|left| left.expect("somebody left")), expected);
        assert_eq!(line.len(), limit);
    }

    #[test]
    fn requests_of_one_asker_begin_as_they_came() {
        check(&[(0, 100, 10); 4], &[0, 1, 2, 3]);
        check(&[(1, 5, 900), (1, 5, 1), (1, 90, 1)], &[0, 1, 2]);
    }

    #[test]
    fn equals_take_turns_however_many_one_of_them_asked_first() {
        let (a, b) = ((1, 50, 10), (2, 50, 10));
        check(&[a, a, a, a, b, b], &[0, 4, 1, 5, 2, 3]);
    }

    #[test]
    fn equals_get_equal_tokens_and_not_equal_turns() {
        let (long, short) = ((1, 50, 30), (2, 50, 10));
        check(&[long, long, short, short, short, short], &[2, 3, 0, 4, 5, 1]);
    }

    #[test]
    fn more_stake_begins_sooner_and_more_often() {
        let (light, heavy) = ((1, 20, 10), (2, 60, 10));
        check(&[light, light, heavy, heavy, heavy, heavy], &[2, 3, 4, 0, 5, 1]);
    }

    #[test]
    fn an_asker_without_stake_begins_while_others_never_stop_asking() {
        let mut line = line(8, &[(1, 0, 10), (2, 100, 10)]);
        let mut begun = 0;
        while line.pop() != Some(0) {
            begun += 1;
            assert_eq!(line.push(ticket((2, 100, 10)), 1), Ok(None));
        }
        assert_eq!(begun, 99);
    }

    #[test]
    fn a_latecomer_has_nothing_saved_up() {
        let mut line = line(100, &[(1, 50, 10); 6]);
        for expected in 0..4 {
            assert_eq!(line.pop(), Some(expected));
        }
        for index in 6..9 {
            line.push(ticket((2, 50, 10)), index).unwrap();
        }
        assert_eq!(order(line), [4, 6, 5, 7, 8]);
    }

    #[test]
    fn one_asker_fills_half_of_the_line_and_one_without_a_name_all_of_it() {
        let mut half = line(4, &[(1, 100, 10); 2]);
        assert_eq!(
            half.push(ticket((1, 100, 10)), 9),
            Err(Refused::AskerFull { limit: 2 })
        );
        assert_eq!(half.push(ticket((2, 1, 10)), 9), Ok(None));
        let mut all = line(4, &[(0, 100, 10); 4]);
        assert_eq!(all.push(ticket((0, 100, 10)), 9), Err(Refused::Full { limit: 4 }));
        assert_eq!(Line::new(1).push(ticket((1, 1, 1)), 0), Ok(None));
    }

    #[test]
    fn in_a_full_line_the_one_that_would_begin_last_leaves_for_more_stake() {
        let three = [(1, 10, 10), (2, 5, 10), (3, 20, 10)];
        check_full(3, &three, (4, 50, 10), Ok(1));
        check_full(3, &three, (4, 5, 10), Err(Refused::Full { limit: 3 }));
        check_full(3, &three, (4, 1, 10), Err(Refused::Full { limit: 3 }));
    }

    #[test]
    fn anybodys_first_request_has_a_seat_before_anothers_second() {
        let four = [(1, 60, 10), (1, 60, 10), (2, 40, 10), (2, 40, 10)];
        check_full(4, &four, (3, 0, 10), Ok(3));
        let three = [(1, 60, 10), (2, 40, 10), (2, 40, 10), (3, 1, 10)];
        // A second request displaces a lighter second one, but no first one.
        check_full(4, &three, (1, 60, 10), Ok(2));
        let firsts = [(1, 60, 10), (2, 40, 10), (3, 1, 10), (4, 1, 10)];
        check_full(4, &firsts, (1, 60, 1), Err(Refused::Full { limit: 4 }));
    }

    #[test]
    fn what_is_taken_out_leaves_the_order_of_the_others() {
        let mut line = line(100, &[(1, 50, 10), (2, 50, 10), (1, 50, 10), (2, 50, 10)]);
        assert_eq!(line.take_out(|&index| index % 3 == 0), [0, 3]);
        assert_eq!((line.len(), line.askers()), (2, 2));
        assert_eq!(order(line), [1, 2]);
    }

    /// Under constant demand of askers with shares, tokens begun are as the shares, to within one request each.
    #[test]
    fn tokens_follow_shares_whatever_the_lengths_of_requests() {
        let shares = [50, 30, 15, 5];
        let mut line = Line::new(64);
        let mut random: u64 = 17;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            1 + (random >> 33) % 100
        };
        let mut ask = |line: &mut Line<(usize, u64)>, asker: usize| {
            let tokens = next();
            let asked = (asker as u8 + 1, shares[asker], tokens);
            assert_eq!(line.push(ticket(asked), (asker, tokens)), Ok(None));
        };
        (0..4).for_each(|asker| (0..8).for_each(|_| ask(&mut line, asker)));
        let mut begun = [0_u64; 4];
        for _ in 0..20_000 {
            let (asker, tokens) = line.pop().unwrap();
            begun[asker] += tokens;
            ask(&mut line, asker);
        }
        let all: u64 = begun.iter().sum();
        for (tokens, share) in begun.into_iter().zip(shares) {
            let percent = tokens as f64 * 100.0 / all as f64;
            assert!((percent - f64::from(share)).abs() < 0.2, "{begun:?}");
        }
    }
}
