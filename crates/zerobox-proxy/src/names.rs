//! Virtual addresses: each name that is asked for gets one of its own, so that a connection tells by its destination
//! which name it is meant for, whatever protocol it speaks.
//!
//! IPv4 addresses are taken from 198.18.0.0/15, which is for benchmarks and never routed (RFC 2544), and the same
//! number stands behind a prefix of our own among the unique local IPv6 addresses (RFC 4193). There are 65,536 of them.
//! An address goes to another name only when nobody can still mean the old one: no connection uses it, and it was not
//! given out for [`KEEP`], many times the lifetime of the answers. Until one is free there is none.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerobox_policy::HostName;

/// The sandbox's name server, and the proxy for programs that want to be told of one.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The gateway's IPv6 address.
pub const GATEWAY_6: Ipv6Addr = Ipv6Addr::new(0xfd5a, 0x7265, 0x626f, 0x7800, 0, 0, 0, 1);

/// Whether `address` stands, or could stand, for a name.
pub fn is_virtual(address: IpAddr) -> bool {
    number_of(address).is_some()
}

/// The IPv6 address with the same meaning as a virtual IPv4 address.
pub fn ipv6_of(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d, ..] = GATEWAY_6.segments();
    let number = address.to_bits();
    Ipv6Addr::from_bits(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits() | u128::from(number))
}

/// The table of names and their virtual addresses. Clones share it.
#[derive(Clone)]
pub struct Names(Arc<Mutex<Table>>);

impl Names {
    /// An empty table.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Table::with_limit(LIMIT))))
    }

    /// The virtual address of `name`, from now on. `None` while every address is in use.
    pub fn assign(&self, name: &HostName) -> Option<Ipv4Addr> {
        self.table().assign(name, Instant::now()).map(address_of)
    }

    /// The name that a virtual address stands for. It goes on doing so until the lease is dropped.
    pub fn lookup(&self, address: IpAddr) -> Option<Lease> {
        let number = number_of(address)?;
        let name = self.table().hold(number)?;
        Some(Lease { names: self.clone(), number, name })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// The name of a virtual address that a connection is using.
#[derive(Debug)]
pub struct Lease {
    names: Names,
    number: u32,
    name: Arc<HostName>,
}

impl Deref for Lease {
    type Target = HostName;

    fn deref(&self) -> &HostName {
        &self.name
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.names.table().release(self.number, Instant::now());
    }
}

struct Table {
    limit: u32,
    numbers: HashMap<Arc<HostName>, u32>,
    slots: Vec<Slot>,
    /// The addresses that no connection uses, the one that was used the longest ago first.
    idle: BTreeSet<(Instant, u32)>,
}

struct Slot {
    name: Arc<HostName>,
    used: Instant,
    leases: u32,
}

impl Table {
    fn with_limit(limit: u32) -> Self {
        Self { limit, numbers: HashMap::new(), slots: Vec::new(), idle: BTreeSet::new() }
    }

    fn assign(&mut self, name: &HostName, now: Instant) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            self.touch(number, now);
            return Some(number);
        }
        let name = Arc::new(name.clone());
        let slot = Slot { name: name.clone(), used: now, leases: 0 };
        let next = u32::try_from(self.slots.len()).ok()?;
        let number = if next < self.limit {
            self.slots.push(slot);
            next
        } else {
            let number = self.oldest(now)?;
            let former = std::mem::replace(&mut self.slots[number as usize], slot);
            self.numbers.remove(&former.name);
            number
        };
        self.numbers.insert(name, number);
        self.idle.insert((now, number));
        Some(number)
    }

    /// Takes the address that was used the longest ago out of those that no connection uses.
    fn oldest(&mut self, now: Instant) -> Option<u32> {
        let (used, number) = *self.idle.first()?;
        if now.saturating_duration_since(used) < KEEP {
            return None;
        }
        self.idle.pop_first();
        Some(number)
    }

    fn touch(&mut self, number: u32, now: Instant) {
        let slot = &mut self.slots[number as usize];
        if self.idle.remove(&(slot.used, number)) {
            self.idle.insert((now, number));
        }
        slot.used = now;
    }

    fn hold(&mut self, number: u32) -> Option<Arc<HostName>> {
        let slot = self.slots.get_mut(number as usize)?;
        self.idle.remove(&(slot.used, number));
        slot.leases += 1;
        Some(slot.name.clone())
    }

    fn release(&mut self, number: u32, now: Instant) {
        let slot = &mut self.slots[number as usize];
        slot.leases -= 1;
        slot.used = now;
        if slot.leases == 0 {
            self.idle.insert((now, number));
        }
    }
}

fn address_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + number)
}

fn number_of(address: IpAddr) -> Option<u32> {
    let address = match address.to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            let low = Ipv4Addr::new(a, b, c, d);
            Some(low).filter(|low| ipv6_of(*low) == address)?
        }
    };
    address.to_bits().checked_sub(FIRST.to_bits()).filter(|number| *number < LIMIT)
}

/// How long after its last use an address keeps its meaning, at least.
const KEEP: Duration = Duration::from_secs(600);
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 0);
const LIMIT: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_address_in_both_families() {
        let names = Names::new();
        let first = names.assign(&name("one.example")).unwrap();
        let second = names.assign(&name("two.example")).unwrap();
        assert_eq!(first, Ipv4Addr::new(198, 18, 1, 0));
        assert_eq!(second, Ipv4Addr::new(198, 18, 1, 1));
        assert_eq!(names.assign(&name("ONE.example.")).unwrap(), first);
        assert_eq!(ipv6_of(first), "fd5a:7265:626f:7800::c612:100".parse::<Ipv6Addr>().unwrap());
        for address in [IpAddr::V4(second), ipv6_of(second).into(), second.to_ipv6_mapped().into()] {
            assert_eq!(*names.lookup(address).unwrap(), name("two.example"));
        }
    }

    #[test]
    fn other_addresses_stand_for_nothing() {
        let names = Names::new();
        names.assign(&name("one.example"));
        let others =
            ["198.18.1.1", "198.18.0.255", "198.18.0.1", "198.19.1.0", "127.0.0.1", "::1", "::c612:100"];
        for address in others {
            assert!(names.lookup(address.parse().unwrap()).is_none(), "{address}");
        }
        assert!(names.lookup("fd5a:7265:626f:7800:1::c612:100".parse().unwrap()).is_none());
        assert!(is_virtual("198.19.0.255".parse().unwrap()) && !is_virtual("198.19.1.0".parse().unwrap()));
        assert!(!is_virtual(GATEWAY.into()) && !is_virtual(GATEWAY_6.into()));
    }

    #[test]
    fn an_address_is_used_again_when_it_is_old_and_free() {
        let mut table = Table::with_limit(2);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(table.assign(&name("a.example"), start), Some(0));
        assert_eq!(table.assign(&name("b.example"), later(1)), Some(1));
        assert_eq!(table.assign(&name("c.example"), later(2)), None);
        assert_eq!(table.assign(&name("a.example"), later(300)), Some(0));
        assert_eq!(table.assign(&name("c.example"), later(601)), Some(1));
        // The oldest is held, and the other one too young.
        assert!(table.hold(0).is_some());
        assert_eq!(table.assign(&name("d.example"), later(1000)), None);
        assert_eq!(table.assign(&name("d.example"), later(1300)), Some(1));
        table.release(0, later(1300));
        assert_eq!(table.assign(&name("e.example"), later(1899)), None);
        assert_eq!(table.assign(&name("e.example"), later(1900)).map(|number| number < 2), Some(true));
        assert_eq!(table.numbers.len(), 2);
    }

    #[test]
    fn a_million_names_are_no_burden() {
        let names = Names::new();
        let given =
            (0..1_000_000).filter(|n| names.assign(&name(&format!("n{n}.example"))).is_some()).count();
        assert_eq!(given, LIMIT as usize);
        assert_eq!(names.table().idle.len(), LIMIT as usize);
    }

    proptest! {
        #[test]
        fn no_two_living_names_share_an_address(
            steps in prop::collection::vec((0u8..12, 0u32..4, 0u64..400), 1..200),
        ) {
            let mut table = Table::with_limit(4);
            let mut now = Instant::now();
            let mut held = Vec::new();
            for (which, number, wait) in steps {
                now += Duration::from_secs(wait);
                match which {
                    0..8 => {
                        let wanted = name(&format!("n{which}.example"));
                        if let Some(number) = table.assign(&wanted, now) {
                            prop_assert_eq!(&*table.slots[number as usize].name, &wanted);
                        }
                    }
                    8..10 => held.extend(table.hold(number).map(|name| (number, name))),
                    _ => if let Some((number, _)) = held.pop() { table.release(number, now) },
                }
                for (number, name) in &held {
                    prop_assert_eq!(&table.slots[*number as usize].name, name);
                }
                let names: HashSet<_> = table.slots.iter().map(|slot| slot.name.clone()).collect();
                prop_assert_eq!(names.len(), table.slots.len());
                prop_assert_eq!(table.numbers.len(), table.slots.len());
                let idle = table.slots.iter().filter(|slot| slot.leases == 0).count();
                prop_assert_eq!(table.idle.len(), idle);
            }
        }

        #[test]
        fn addresses_and_numbers_correspond(number in 0..LIMIT) {
            let address = address_of(number);
            prop_assert_eq!(number_of(address.into()), Some(number));
            prop_assert_eq!(number_of(ipv6_of(address).into()), Some(number));
        }
    }
}
