//! How many public connections each address has, all shards together. Asked once when a connection is
//! accepted, before anything else is done for it, and once when it is gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use ipnet::IpNet;
use slab::Slab;

/// Bits of an IPv6 address that stand for one client: a household has that many networks' worth of
/// addresses to itself, and may use a new one for each connection.
const IPV6_CLIENT_BITS: u32 = 64;

/// The table. It has an entry for each address that is connected, so at most one a connection. By
/// default it counts nothing.
#[derive(Debug, Default)]
pub struct Addresses {
    rules: RwLock<Rules>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Rules {
    max: u32,
    /// Whose connections are not counted.
    exempt: Vec<IpNet>,
}

#[derive(Debug, Default)]
struct Table {
    places: HashMap<IpAddr, usize>,
    counts: Slab<(IpAddr, u32)>,
}

/// One connection in the table, to be given back. As small as it can be, since each stream keeps one.
#[derive(Debug)]
pub(super) struct AddressPlace(NonZeroU32);

/// The address has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Addresses {
    /// Up to `max` connections for each address, as many as come for 0.
    pub fn new(max: u32, exempt: Vec<IpNet>) -> Self {
        Self { rules: RwLock::new(Rules { max, exempt }), table: Mutex::default() }
    }

    /// Puts other rules in place. Connections that were not counted before are not counted now.
    pub fn set_rules(&self, max: u32, exempt: Vec<IpNet>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules { max, exempt };
    }

    /// Counts a connection; `None` if those of its address are not counted.
    pub(super) fn take(&self, address: IpAddr) -> Result<Option<AddressPlace>, Crowded> {
        let address = address.to_canonical();
        let max = {
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            if rules.max == 0 || rules.exempt.iter().any(|network| network.contains(&address)) {
                return Ok(None);
            }
            rules.max
        };
        let client = client_of(address);
        let mut table = self.table();
        let Table { places, counts } = &mut *table;
        let place = *places.entry(client).or_insert_with(|| counts.insert((client, 0)));
        let (_, count) = &mut counts[place];
        if *count >= max {
            return Err(Crowded);
        }
        *count += 1;
        let number = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
        Ok(Some(AddressPlace(number.expect("there are fewer connections than that"))))
    }

    /// The connection is gone.
    pub(super) fn give_back(&self, AddressPlace(number): &AddressPlace) {
        let mut table = self.table();
        let place = number.get() as usize - 1;
        let (client, count) = &mut table.counts[place];
        *count -= 1;
        if *count == 0 {
            let client = *client;
            table.counts.remove(place);
            table.places.remove(&client);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let mask = !0 << (Ipv6Addr::BITS - IPV6_CLIENT_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    //! Who counts as one, who does not count, and that nothing is left behind.

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn f42_an_address_has_so_many_places_and_another_has_its_own() {
        let addresses = Addresses::new(2, Vec::new());
        let first = addresses.take(ip("192.0.2.1")).unwrap().unwrap();
        addresses.take(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(addresses.take(ip("192.0.2.1")).err(), Some(Crowded));
        addresses.take(ip("192.0.2.2")).unwrap();
        addresses.give_back(&first);
        assert!(addresses.take(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn f42_a_network_of_ipv6_is_one_client() {
        let addresses = Addresses::new(1, Vec::new());
        addresses.take(ip("2001:db8:0:1::1")).unwrap();
        assert!(addresses.take(ip("2001:db8:0:1:ffff::2")).is_err());
        assert!(addresses.take(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn a_load_balancer_is_not_counted() {
        let addresses = Addresses::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        for _ in 0..3 {
            assert!(addresses.take(ip("10.1.2.3")).unwrap().is_none());
        }
        let unbounded = Addresses::new(0, Vec::new());
        assert!(unbounded.take(ip("192.0.2.1")).unwrap().is_none());
    }

    #[test]
    fn what_is_gone_leaves_no_entry() {
        let addresses = Addresses::new(10, Vec::new());
        let take = |last: u8| addresses.take(IpAddr::from([192, 0, 2, last])).unwrap().unwrap();
        let places: Vec<_> = (0..100).map(take).collect();
        assert_eq!(addresses.table().counts.len(), 100);
        places.iter().for_each(|place| addresses.give_back(place));
        assert!(addresses.table().counts.is_empty() && addresses.table().places.is_empty());
    }
}
