//! How much may be asked for: in all, for one registered domain, by one client.
//!
//! Rules kept here: what is counted is bounded however many ask; a clock that jumps back
//! neither blocks anybody for long nor opens the door.

use std::collections::HashMap;
use std::hash::Hash;

use crate::clock::{Duration, Timestamp, Window};
use crate::identifier::DnsName;
use crate::net::client::ClientPrefix;

/// The limits of what is made on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapSettings {
    /// Certificates being made at the same time.
    pub in_flight: usize,
    /// Names that wait for their turn.
    pub queue: usize,
    /// New names in any hour.
    pub names_per_hour: usize,
    /// New names below one registered domain in any seven days.
    pub names_per_domain: usize,
    /// New names that one client may ask for in any hour.
    pub names_per_client: usize,
}

impl CapSettings {
    /// Below what Let's Encrypt allows: 300 orders in 3 hours for an account, 50
    /// certificates in 7 days for a registered domain.
    pub const PUBLIC: Self = Self {
        in_flight: 8,
        queue: 64,
        names_per_hour: 80,
        names_per_domain: 40,
        names_per_client: 20,
    };

    /// For a CA of one's own.
    pub const PRIVATE: Self = Self {
        in_flight: 4,
        queue: 256,
        names_per_hour: 1000,
        names_per_domain: 10_000,
        names_per_client: 100,
    };
}

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cap {
    /// [`CapSettings::queue`].
    Queue,
    /// [`CapSettings::names_per_hour`].
    Hour,
    /// [`CapSettings::names_per_domain`].
    Domain,
    /// [`CapSettings::names_per_client`].
    Client,
    /// More questions about permission than are asked at the same time.
    Asking,
}

impl Cap {
    /// In words, for events and logs.
    pub fn words(self) -> &'static str {
        match self {
            Self::Queue => "too many certificates are being made",
            Self::Hour => "too many new names in this hour",
            Self::Domain => "too many new names below this domain in these seven days",
            Self::Client => "this client asks for too many new names",
            Self::Asking => "too many names wait for permission",
        }
    }
}

/// What was asked for lately.
#[derive(Debug)]
pub struct Caps {
    settings: CapSettings,
    hour: Window,
    domains: HashMap<Box<str>, Window>,
    clients: HashMap<ClientPrefix, Window>,
}

/// Most clients, and most domains, that are remembered.
const MAX_REMEMBERED: usize = 10_000;

const HOUR: Duration = Duration::HOUR;
const WEEK: Duration = Duration::WEEK;

impl Caps {
    /// Nothing was asked for yet.
    pub fn new(settings: CapSettings) -> Self {
        Self {
            settings,
            hour: Window::default(),
            domains: HashMap::new(),
            clients: HashMap::new(),
        }
    }

    /// Counts that `client` asks for a new name, and looks whether `name` could be one.
    pub fn knock(
        &mut self,
        name: &DnsName,
        client: ClientPrefix,
        now: Timestamp,
    ) -> Result<(), Cap> {
        self.check(name, now)?;
        let window = entry(&mut self.clients, client, HOUR, now).ok_or(Cap::Client)?;
        let most = self.settings.names_per_client;
        check(window, most, HOUR, now, Cap::Client)?;
        window.push(now);
        Ok(())
    }

    /// Counts a certificate that is to be made for `name`.
    pub fn take(&mut self, name: &DnsName, now: Timestamp) -> Result<(), Cap> {
        self.check(name, now)?;
        self.note(name, now, now);
        Ok(())
    }

    /// Counts a certificate that was made for `name` at `moment`, which may be long ago.
    pub fn note(&mut self, name: &DnsName, moment: Timestamp, now: Timestamp) {
        if now - moment < HOUR {
            self.hour.push(moment);
        }
        if now - moment < WEEK
            && let Some(window) = entry(&mut self.domains, registered(name).into(), WEEK, now)
        {
            window.push(moment);
        }
    }

    fn check(&mut self, name: &DnsName, now: Timestamp) -> Result<(), Cap> {
        let CapSettings {
            names_per_hour,
            names_per_domain,
            ..
        } = self.settings;
        check(&mut self.hour, names_per_hour, HOUR, now, Cap::Hour)?;
        let domain = entry(&mut self.domains, registered(name).into(), WEEK, now);
        let domain = domain.ok_or(Cap::Domain)?;
        check(domain, names_per_domain, WEEK, now, Cap::Domain)
    }
}

/// The part of `name` that somebody has registered: the public suffix and one label more.
/// A name without one stands for itself.
pub fn registered(name: &DnsName) -> &str {
    psl::domain_str(name.as_str()).unwrap_or(name.as_str())
}

/// Whether `name` is one that nobody can register, such as `co.uk`.
pub fn is_public_suffix(name: &DnsName) -> bool {
    psl::domain_str(name.as_str()).is_none()
}

fn check(
    window: &mut Window,
    most: usize,
    span: Duration,
    now: Timestamp,
    cap: Cap,
) -> Result<(), Cap> {
    match window.wait(most, span, now) {
        None => Ok(()),
        Some(_) => Err(cap),
    }
}

/// The window of `key`; `None` when too many others are remembered.
fn entry<K: Hash + Eq>(
    windows: &mut HashMap<K, Window>,
    key: K,
    span: Duration,
    now: Timestamp,
) -> Option<&mut Window> {
    if windows.len() >= MAX_REMEMBERED && !windows.contains_key(&key) {
        windows.retain(|_, window| {
            window.forget(span, now);
            window.count() > 0
        });
        if windows.len() >= MAX_REMEMBERED {
            return None;
        }
    }
    Some(windows.entry(key).or_default())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    fn client(n: u16) -> ClientPrefix {
        IpAddr::from([0x2001, 0xdb8, 0, n, 0, 0, 0, 1]).into()
    }

    fn small() -> Caps {
        Caps::new(CapSettings {
            in_flight: 1,
            queue: 1,
            names_per_hour: 4,
            names_per_domain: 2,
            names_per_client: 3,
        })
    }

    #[test]
    fn names_count_for_their_registered_domain_for_a_week_and_in_all_for_an_hour() {
        let mut caps = small();
        let after = |hours| T0 + Duration::hours(hours);
        for (asked, at, expected) in [
            ("a.example.co.uk", after(0), Ok(())),
            ("b.c.example.co.uk", after(0), Ok(())),
            ("d.example.co.uk", after(0), Err(Cap::Domain)),
            ("a.other.co.uk", after(0), Ok(())),
            ("a.test", after(0), Ok(())),
            ("b.test", after(0), Err(Cap::Hour)),
            ("b.test", after(1), Ok(())),
            ("d.example.co.uk", after(167), Err(Cap::Domain)),
            ("d.example.co.uk", after(168), Ok(())),
        ] {
            assert_eq!(caps.take(&name(asked), at), expected, "{asked} at {at}");
        }
    }

    #[test]
    fn a_client_knocks_for_so_many_names_an_hour_and_an_ipv6_one_is_its_network() {
        let mut caps = small();
        let mut knock = |n, at| caps.knock(&name("a.test"), client(n), at);
        for _ in 0..3 {
            assert_eq!(knock(1, T0), Ok(()));
        }
        assert_eq!(knock(1, T0), Err(Cap::Client));
        assert_eq!(knock(2, T0), Ok(()));
        assert_eq!(knock(1, T0 + HOUR), Ok(()));
    }

    #[test]
    fn a_clock_that_jumps_back_neither_blocks_for_long_nor_forgets() {
        let mut caps = small();
        let ahead = T0 + Duration::days(365);
        for _ in 0..2 {
            assert_eq!(caps.take(&name("a.test"), ahead), Ok(()));
        }
        assert_eq!(caps.take(&name("b.a.test"), T0), Err(Cap::Domain));
        assert_eq!(caps.take(&name("b.a.test"), T0 + WEEK), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_makes_room_when_it_is_old() {
        let mut caps = small();
        let busy = |n: usize| ClientPrefix::from(IpAddr::from((n as u32).to_be_bytes()));
        for n in 0..MAX_REMEMBERED {
            caps.knock(&name("a.test"), busy(n), T0).unwrap();
        }
        let next = busy(MAX_REMEMBERED);
        let knock = |caps: &mut Caps, at| caps.knock(&name("a.test"), next, at);
        assert_eq!(knock(&mut caps, T0), Err(Cap::Client));
        assert_eq!(knock(&mut caps, T0 + HOUR), Ok(()));
        assert_eq!(caps.clients.len(), 1);
    }

    #[test]
    fn public_suffixes_are_nobodys() {
        for (asked, is_suffix) in [
            ("co.uk", true),
            ("com", true),
            ("github.io", true),
            ("localhost", true),
            ("example.co.uk", false),
            ("me.github.io", false),
            ("a.internal", false),
        ] {
            assert_eq!(is_public_suffix(&name(asked)), is_suffix, "{asked}");
        }
    }
}
