//! Sessions: the keys of a tempo by which permitted validators ask without saying who they are.
//!
//! A validator shows its certificate once in each tempo ([`agon_protocol::session`]); from then on challenges by the
//! session's key are admitted like those of a hotkey with a permit. Verifying a certificate takes milliseconds and
//! anybody can send one, so what costs nothing is checked first, and [`Budget`] bounds the rest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use agon_protocol::id::Hotkey;
use agon_protocol::session::{Certificate, Introduced, Ring};
use agon_runtime::net;

use crate::admission::Refusal;

/// Certificates that are verified in a second, in the long run: at 64 members, 5 ms each, a twelfth of one processor.
const PER_SECOND: u64 = 16;
/// Certificates that may come at once: those of all validators, twice.
const AT_ONCE_MAX: u64 = 2 * Ring::MEMBERS_MAX as u64;
/// Of those, kept for addresses from which a challenge was admitted.
const KNOWN_ONLY: u64 = AT_ONCE_MAX / 2;
/// Certificates that are verified in a second for one address that is not known.
const ADDRESS_PER_SECOND: u64 = 4;
/// Certificates that may come at once from one address that is not known.
const ADDRESS_AT_ONCE_MAX: u64 = 16;
/// Addresses that are counted at a time; whoever finds no room is refused.
const ADDRESSES_MAX: usize = 1024;
/// A millionth part of all stake: what shares of it are counted in.
const PPM: u32 = 1_000_000;

/// What a miner knows of the sessions of the running tempo and the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The permitted validators of each tempo that is asked in sessions.
    rings: BTreeMap<u64, Arc<Ring>>,
    /// By tempo and tag, of which each validator has one.
    introduced: BTreeMap<u64, BTreeMap<[u8; 32], Hotkey>>,
}

impl Sessions {
    /// Learns who may introduce sessions in a tempo.
    pub fn learn(&mut self, ring: Ring) {
        self.rings.insert(ring.input().tempo, Arc::new(ring));
    }

    /// Whether the permitted validators of `tempo` are known.
    #[must_use]
    pub fn know(&self, tempo: u64) -> bool {
        self.rings.contains_key(&tempo)
    }

    /// Forgets what is of tempos that `keeps` does not want.
    pub fn keep_only(&mut self, keeps: impl Fn(u64) -> bool) {
        self.rings.retain(|tempo, _| keeps(*tempo));
        self.introduced.retain(|tempo, _| keeps(*tempo));
    }

    /// The ring that a certificate has to be verified against; `None` when its session was introduced before.
    ///
    /// # Errors
    ///
    /// [`Refusal`] for what is refused whether the certificate holds or not.
    pub fn ring_for(&self, certificate: &Certificate) -> Result<Option<Arc<Ring>>, Refusal> {
        let Certificate { tempo, key, tag, .. } = certificate;
        let ring = self
            .rings
            .get(tempo)
            .ok_or(Refusal::NoSessions { tempo: *tempo })?;
        match self.of_tag(*tempo, tag) {
            None => Ok(Some(Arc::clone(ring))),
            Some(known) if known == *key => Ok(None),
            Some(_) => Err(Refusal::SecondSession { tempo: *tempo }),
        }
    }

    /// Notes a session. Each validator has one: a second one with the same tag is refused.
    ///
    /// # Errors
    ///
    /// [`Refusal::SecondSession`]; [`Refusal::NoSessions`] when the tempo was left meanwhile.
    pub fn introduce(&mut self, introduced: &Introduced) -> Result<(), Refusal> {
        let (tempo, key) = (introduced.tempo(), introduced.key());
        if !self.know(tempo) {
            return Err(Refusal::NoSessions { tempo });
        }
        let known = self.introduced.entry(tempo).or_default();
        match *known.entry(introduced.tag()).or_insert(key) == key {
            true => Ok(()),
            false => Err(Refusal::SecondSession { tempo }),
        }
    }

    fn of_tag(&self, tempo: u64, tag: &[u8; 32]) -> Option<Hotkey> {
        self.introduced.get(&tempo)?.get(tag).copied()
    }

    /// The tempo in which a session may ask; `None` for a key that is no session.
    #[must_use]
    pub fn tempo_of(&self, key: &Hotkey) -> Option<u64> {
        let is_of = |known: &BTreeMap<_, Hotkey>| known.values().any(|known| known == key);
        let mut tempos = self.introduced.iter();
        tempos.find(|(_, known)| is_of(known)).map(|(tempo, _)| *tempo)
    }

    /// A session's share in the stake of all who may ask, parts per million, rounded down: the same for each, since
    /// nobody knows whose stake is behind it. `None` for a key that is no session.
    #[must_use]
    pub fn share_ppm(&self, key: &Hotkey) -> Option<u32> {
        let ring = self.rings.get(&self.tempo_of(key)?)?;
        let members = u32::try_from(ring.member_count()).unwrap_or(u32::MAX);
        PPM.checked_div(members)
    }
}

/// What there is left of something that comes back with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of one, so that each millisecond brings back whole numbers.
    left_milli: u64,
    filled_ms: u64,
}

impl Bucket {
    const fn full(max: u64, now_ms: u64) -> Self {
        Self {
            left_milli: max * 1_000,
            filled_ms: now_ms,
        }
    }

    fn fill(&mut self, max: u64, per_second: u64, now_ms: u64) {
        let gone_ms = now_ms.saturating_sub(self.filled_ms);
        let back = gone_ms.saturating_mul(per_second);
        self.left_milli = self.left_milli.saturating_add(back).min(max * 1_000);
        self.filled_ms = now_ms;
    }

    /// Whether one can be taken so that `kept` stay.
    const fn has(&self, kept: u64) -> bool {
        self.left_milli >= (kept + 1) * 1_000
    }
}

/// The certificates that a miner still has time to verify: in all, and of each address that is not known.
#[derive(Debug, Default)]
pub struct Budget {
    all: Option<Bucket>,
    of_address: BTreeMap<IpAddr, Bucket>,
}

impl Budget {
    /// Takes the time for one certificate from `ip`; `is_known` says whether a challenge was admitted from there.
    ///
    /// # Errors
    ///
    /// [`Refusal::IntroductionsFull`] when there is none left.
    pub fn take(&mut self, ip: IpAddr, is_known: bool, now_ms: u64) -> Result<(), Refusal> {
        let all = self.all.get_or_insert(Bucket::full(AT_ONCE_MAX, now_ms));
        all.fill(AT_ONCE_MAX, PER_SECOND, now_ms);
        let kept = if is_known { 0 } else { KNOWN_ONLY };
        if !all.has(kept) {
            return Err(Refusal::IntroductionsFull);
        }
        if !is_known {
            take_of_address(&mut self.of_address, net::host(ip), now_ms)?;
        }
        all.left_milli -= 1_000;
        Ok(())
    }
}

fn take_of_address(buckets: &mut BTreeMap<IpAddr, Bucket>, host: IpAddr, now_ms: u64) -> Result<(), Refusal> {
    if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&host) {
        buckets.retain(|_, bucket| {
            bucket.fill(ADDRESS_AT_ONCE_MAX, ADDRESS_PER_SECOND, now_ms);
            !bucket.has(ADDRESS_AT_ONCE_MAX - 1)
        });
        if buckets.len() >= ADDRESSES_MAX {
            return Err(Refusal::IntroductionsFull);
        }
    }
    let bucket = buckets
        .entry(host)
        .or_insert(Bucket::full(ADDRESS_AT_ONCE_MAX, now_ms));
    bucket.fill(ADDRESS_AT_ONCE_MAX, ADDRESS_PER_SECOND, now_ms);
    if !bucket.has(0) {
        return Err(Refusal::IntroductionsFull);
    }
    bucket.left_milli -= 1_000;
    Ok(())
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::{Digest, Netuid};
    use agon_protocol::session::{Session, SessionInput};
    use agon_protocol::sign::Keypair;

    use super::*;

    fn pair(seed: u8) -> Keypair {
        Keypair::from_mini_secret(&[seed; 32])
    }

    fn input(tempo: u64) -> SessionInput {
        SessionInput {
            genesis: Digest([9; 32]),
            netuid: Netuid(1),
            tempo,
        }
    }

    fn ring(tempo: u64) -> Ring {
        Ring::new(input(tempo), [1, 2, 3, 4].map(|seed| pair(seed).hotkey())).unwrap()
    }

    fn certificate(seed: u8, tempo: u64) -> Certificate {
        let session = pair(seed).session(&input(tempo));
        ring(tempo).certify(&pair(seed), &session).unwrap()
    }

    fn sessions() -> Sessions {
        let mut sessions = Sessions::default();
        sessions.learn(ring(4));
        sessions
    }

    fn introduce(sessions: &mut Sessions, certificate: &Certificate) -> Result<(), Refusal> {
        let Some(ring) = sessions.ring_for(certificate)? else {
            return Ok(());
        };
        sessions.introduce(&ring.verify(certificate).map_err(Refusal::Certificate)?)
    }

    #[test]
    fn an_introduced_session_has_an_equal_share_and_its_tempo_only() {
        let mut sessions = sessions();
        let certificate = certificate(1, 4);
        assert_eq!(sessions.tempo_of(&certificate.key), None);
        introduce(&mut sessions, &certificate).unwrap();
        assert_eq!(sessions.tempo_of(&certificate.key), Some(4));
        assert_eq!(sessions.share_ppm(&certificate.key), Some(250_000));
        assert_eq!(
            sessions.ring_for(&certificate).map(|ring| ring.is_none()),
            Ok(true),
            "again costs nothing"
        );
        assert_eq!(
            sessions.tempo_of(&pair(1).hotkey()),
            None,
            "whose it is stays unknown"
        );
        sessions.keep_only(|tempo| tempo > 4);
        assert_eq!(sessions.tempo_of(&certificate.key), None);
    }

    #[test]
    fn a_second_session_of_one_validator_is_refused_before_it_is_verified() {
        let mut sessions = sessions();
        introduce(&mut sessions, &certificate(1, 4)).unwrap();
        let own = pair(1).session(&input(4));
        let second = Session { pair: pair(8), ..own };
        let second = ring(4).certify(&pair(1), &second).unwrap();
        let refused = Err(Refusal::SecondSession { tempo: 4 });
        assert_eq!(sessions.ring_for(&second).map(drop), refused);
        let introduced = ring(4).verify(&second).unwrap();
        assert_eq!(sessions.introduce(&introduced), refused, "nor by a race");
        introduce(&mut sessions, &certificate(2, 4)).unwrap();
    }

    #[test]
    fn certificates_of_tempos_that_are_not_known_and_of_strangers_are_refused() {
        let mut sessions = sessions();
        let refused = introduce(&mut sessions, &certificate(1, 5));
        assert_eq!(refused, Err(Refusal::NoSessions { tempo: 5 }));
        let mut altered = certificate(1, 4);
        altered.responses.swap(0, 1);
        let refused = introduce(&mut sessions, &altered);
        assert!(matches!(refused, Err(Refusal::Certificate(_))), "{refused:?}");
    }

    /// How many of `count` certificates are verified, all at once.
    fn taken(budget: &mut Budget, ip: [u8; 4], is_known: bool, now_ms: u64, count: usize) -> usize {
        let take = |_: &usize| budget.take(ip.into(), is_known, now_ms).is_ok();
        (0..count).filter(take).count()
    }

    #[test]
    fn one_stranger_takes_its_part_and_has_more_a_second_later() {
        let mut budget = Budget::default();
        assert_eq!(taken(&mut budget, [10, 0, 0, 1], false, 0, 100), 16);
        assert_eq!(taken(&mut budget, [10, 0, 0, 1], false, 1_000, 100), 4);
        assert_eq!(taken(&mut budget, [10, 0, 0, 2], false, 1_000, 100), 16);
    }

    #[test]
    fn many_strangers_leave_the_half_for_known_addresses() {
        let mut budget = Budget::default();
        let strangers: usize = (0..100)
            .map(|ip| taken(&mut budget, [10, 0, 0, ip], false, 0, 100))
            .sum();
        assert_eq!(strangers, 64);
        assert_eq!(taken(&mut budget, [10, 1, 0, 0], true, 0, 100), 64);
        assert_eq!(taken(&mut budget, [10, 1, 0, 0], true, 1_000, 100), 16);
    }

    #[test]
    fn addresses_are_counted_up_to_a_number_and_forgotten_when_they_are_quiet() {
        let mut buckets = BTreeMap::new();
        let host = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in 0..ADDRESSES_MAX {
            take_of_address(&mut buckets, host(number), 0).unwrap();
        }
        let refused = take_of_address(&mut buckets, host(ADDRESSES_MAX), 0);
        assert_eq!(refused, Err(Refusal::IntroductionsFull));
        take_of_address(&mut buckets, host(ADDRESSES_MAX), 60_000).unwrap();
        assert_eq!(buckets.len(), 1);
    }
}
