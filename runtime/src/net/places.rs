//! The places of a listener: how many connections it holds, from whom.
//!
//! One address may hold a part of them, so that nobody fills a listener alone; and a part is kept for addresses that
//! have shown themselves worth it, so that many strangers together cannot keep those out either. What a host may
//! choose freely counts as one address: of IPv6 the upper half.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{CONNECTIONS, CONNECTIONS_REFUSED};

/// Addresses that are known at a time; the one seen longest ago is forgotten first.
const KNOWN_MAX: usize = 256;

/// How many connections a listener holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections_max: usize,
    /// From one address.
    pub per_address_max: usize,
    /// Of those in all, kept for known addresses.
    pub known_only: usize,
}

impl Limits {
    /// So many, from wherever they come.
    #[must_use]
    pub const fn of(connections_max: usize) -> Self {
        Self {
            connections_max,
            per_address_max: connections_max,
            known_only: 0,
        }
    }
}

/// Addresses whose connections may take the places that are kept for them; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<VecDeque<IpAddr>>>);

impl Known {
    /// Learns that somebody at `ip` is worth a place.
    pub fn note(&self, ip: IpAddr) {
        let (ip, mut known) = (host(ip), self.lock());
        if known.back() == Some(&ip) {
            return;
        }
        known.retain(|other| *other != ip);
        known.push_back(ip);
        if known.len() > KNOWN_MAX {
            known.pop_front();
        }
    }

    /// Whether `ip` is among them.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.lock().contains(&host(ip))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places of one listener, shared by its connections.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    known: Known,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    ip: IpAddr,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            known: Known::default(),
            taken: Arc::default(),
        }
    }

    pub(super) fn known(&self) -> Known {
        self.known.clone()
    }

    /// A place for a connection from `ip`, or which limit stands against it.
    pub(super) fn take(&self, ip: IpAddr) -> Result<Place, &'static str> {
        let taken = self.try_take(host(ip));
        match taken {
            Ok(_) => metrics::gauge!(CONNECTIONS.name()).increment(1.0),
            Err(limit) => metrics::counter!(CONNECTIONS_REFUSED.name(), "limit" => limit).increment(1),
        }
        taken
    }

    fn try_take(&self, ip: IpAddr) -> Result<Place, &'static str> {
        let mut taken = lock(&self.taken);
        if taken
            .get(&ip)
            .is_some_and(|count| *count >= self.limits.per_address_max)
        {
            return Err("address");
        }
        let all: usize = taken.values().sum();
        let open_to_all = self.limits.connections_max.saturating_sub(self.limits.known_only);
        if all >= self.limits.connections_max || (all >= open_to_all && !self.known.has(ip)) {
            return Err("all");
        }
        *taken.entry(ip).or_default() += 1;
        Ok(Place {
            ip,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS.name()).decrement(1.0);
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.ip);
            }
        }
    }
}

fn lock(taken: &Mutex<BTreeMap<IpAddr, usize>>) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of an address that names a host's network: whoever has an IPv6 address has 2^64 of them.
#[must_use]
pub fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn places() -> Places {
        Places::new(Limits {
            connections_max: 6,
            per_address_max: 2,
            known_only: 2,
        })
    }

    #[test]
    fn one_address_holds_its_part_and_no_more() {
        let places = places();
        let held = [
            places.take(ip("10.0.0.1")).unwrap(),
            places.take(ip("10.0.0.1")).unwrap(),
        ];
        assert_eq!(places.take(ip("10.0.0.1")).unwrap_err(), "address");
        assert_eq!(places.take(ip("::ffff:10.0.0.1")).unwrap_err(), "address");
        assert!(places.take(ip("10.0.0.2")).is_ok());
        drop(held);
        assert!(places.take(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let places = places();
        let _held = [
            places.take(ip("2001:db8::1")).unwrap(),
            places.take(ip("2001:db8::ffff:2")).unwrap(),
        ];
        assert_eq!(places.take(ip("2001:db8::3")).unwrap_err(), "address");
        assert!(places.take(ip("2001:db8:0:1::3")).is_ok());
    }

    #[test]
    fn strangers_together_leave_places_to_those_who_are_known() {
        let places = places();
        places.known().note(ip("10.0.0.9"));
        let strangers = (1..9).map(|last| places.take(IpAddr::from([10, 0, 0, last])));
        let held: Vec<_> = strangers.filter_map(Result::ok).collect();
        assert_eq!(held.len(), 4);
        let known = [places.take(ip("10.0.0.9")), places.take(ip("10.0.0.9"))];
        assert!(known.iter().all(Result::is_ok));
        places.known().note(ip("10.0.0.8"));
        assert_eq!(places.take(ip("10.0.0.8")).unwrap_err(), "all");
    }

    #[test]
    fn who_was_seen_longest_ago_is_forgotten_first() {
        let known = Known::default();
        let address = |index: usize| IpAddr::from((index as u32).to_be_bytes());
        (0..KNOWN_MAX).for_each(|index| known.note(address(index)));
        known.note(address(0));
        known.note(address(KNOWN_MAX));
        assert!(known.has(address(0)) && known.has(address(KNOWN_MAX)) && !known.has(address(1)));
    }
}
