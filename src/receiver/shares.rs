//! Shares: when something that anybody may hold runs out, whoever holds most of it makes room.
//!
//! Connections are limited, and so is the memory for the heads of requests and for bodies that can be verified only once
//! they are read whole. Nobody needs a secret to hold these, so that one caller with slow connections could hold all of
//! them. When there is no room left, one holder is told to go: of the peer that holds most the one that has waited longest
//! for what its caller still has to send. So a peer has all that is there while nobody else wants it, others find room at
//! once, and among the connections of one peer, such as a proxy, the slow ones go and those that send go on.
//!
//! Nobody goes who has come, or was answered, only just now. A peer is an IPv4 address, or the /64 network of an IPv6 one.
//! Those on this machine go last. What has arrived whole never goes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long to wait before looking again for somebody who can make room.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How many are told to go at once, at most: each look goes through all.
const TOLD_AT_ONCE: usize = 64;

/// How long one may wait for its caller before it can be told to go: what was sent already may not have been read yet.
const GRACE: Duration = Duration::from_millis(100);

/// What there is not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Places.
    Places,
    /// Memory.
    Memory,
}

/// All who hold a part of something.
#[derive(Debug, Clone)]
pub(super) struct Shares(Arc<SharedState>);

#[derive(Debug)]
struct SharedState {
    begun: Instant,
    holders: Mutex<HolderTable>,
    /// How many bytes they hold together, and may hold.
    bytes: AtomicUsize,
    limit: usize,
    /// How many were told to go, and have not gone yet.
    going: AtomicUsize,
    /// Notified when one has gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct HolderTable {
    holders: HashMap<u64, Arc<HolderState>>,
    last: u64,
}

#[derive(Debug)]
struct HolderState {
    peer: IpAddr,
    bytes: AtomicUsize,
    /// Since when it waits for its caller, in nanoseconds of this table; 0 if it does not.
    waits_since: AtomicU64,
    /// Whether it waits for the head of a request.
    waits_for_head: AtomicBool,
    is_told: AtomicBool,
    told: Notify,
}

/// One who holds a part, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    address: IpAddr,
    number: u64,
    state: Arc<HolderState>,
    all: Shares,
}

impl Default for Shares {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl Shares {
    /// Those who may hold so many bytes together; when it is more, they make room until it is not.
    pub(super) fn of(limit: usize) -> Self {
        Self(Arc::new(SharedState {
            begun: Instant::now(),
            holders: Mutex::default(),
            bytes: AtomicUsize::new(0),
            limit,
            going: AtomicUsize::new(0),
            gone: Notify::new(),
        }))
    }

    /// A place for this address, unless so many are held already. It waits for its caller from now on.
    pub(super) fn enter(&self, address: IpAddr, limit: usize) -> Option<Share> {
        let mut table = self.table();
        if table.holders.len() >= limit {
            return None;
        }
        table.last += 1;
        let number = table.last;
        let state = Arc::new(HolderState {
            peer: peer_of(address),
            bytes: AtomicUsize::new(0),
            waits_since: AtomicU64::new(self.now()),
            waits_for_head: AtomicBool::new(true),
            is_told: AtomicBool::new(false),
            told: Notify::new(),
        });
        table.holders.insert(number, Arc::clone(&state));
        Some(Share { address, number, state, all: self.clone() })
    }

    /// A place as soon as there is one; another makes room if need be.
    pub(super) async fn enter_in_turn(&self, address: IpAddr, limit: usize) -> Share {
        loop {
            let mut gone = std::pin::pin!(self.0.gone.notified());
            // Enabled first, so that one that goes after the look is not missed.
            gone.as_mut().enable();
            if let Some(share) = self.enter(address, limit) {
                return share;
            }
            self.make_room(Shortage::Places);
            // Nobody may be able to go now, and somebody may be soon.
            let _ = tokio::time::timeout(LOOK_AGAIN, gone).await;
        }
    }

    /// Makes room if they hold more than they may.
    fn keep_limit(&self) {
        let excess = self.0.bytes.load(Ordering::Relaxed).saturating_sub(self.0.limit);
        if excess > 0 {
            self.make_room_of(Shortage::Memory, excess, u64::MAX);
        }
    }

    /// Tells one to go, unless one is going already or nobody can.
    pub(super) fn make_room(&self, shortage: Shortage) {
        let grace = u64::try_from(GRACE.as_nanos()).unwrap_or_default();
        self.make_room_of(shortage, 1, self.now().saturating_sub(grace));
    }

    /// Makes so much room, or some of it, with those that have waited since then or longer.
    fn make_room_of(&self, shortage: Shortage, wanted: usize, latest: u64) {
        if self.0.going.load(Ordering::Relaxed) > 0 {
            return;
        }
        let table = self.table();
        let held = |state: &HolderState| match shortage {
            Shortage::Places => 1,
            Shortage::Memory => state.bytes.load(Ordering::Relaxed),
        };
        let mut by_peer: HashMap<IpAddr, usize> = HashMap::new();
        for state in table.holders.values() {
            *by_peer.entry(state.peer).or_default() += held(state);
        }
        let waiting = table.holders.values().filter_map(|state| {
            let since = state.waits_since.load(Ordering::Relaxed);
            ((1..=latest).contains(&since) && held(state) > 0).then_some((state, since))
        });
        let mut waiting: Vec<_> = waiting.collect();
        let weight = |peer: &IpAddr| (!peer.is_loopback(), by_peer.get(peer).copied());
        let most = waiting.iter().max_by_key(|(state, since)| (weight(&state.peer), Reverse(*since)));
        let Some(peer) = most.map(|(state, _)| state.peer) else { return };
        waiting.retain(|(state, _)| state.peer == peer);
        waiting.sort_unstable_by_key(|(_, since)| *since);
        let mut room = 0;
        for (state, _) in waiting.into_iter().take(TOLD_AT_ONCE) {
            if room >= wanted {
                return;
            }
            room += held(state);
            // Another thread may have told it meanwhile.
            if !state.is_told.swap(true, Ordering::Relaxed) {
                self.0.going.fetch_add(1, Ordering::Relaxed);
                state.told.notify_one();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HolderTable> {
        // A panic of another thread leaves the table as it was before or after one change.
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

/// Whoever has an address: the holder of an IPv6 one has its whole network.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

impl Share {
    /// The address of its caller.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// All holders that this one is one of.
    pub(super) fn all(&self) -> &Shares {
        &self.all
    }

    /// A request has arrived, as far as its head goes. It waits for the next one when the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> RequestGuard {
        self.state.waits_since.store(0, Ordering::Relaxed);
        self.state.waits_for_head.store(false, Ordering::Relaxed);
        self.hold(0);
        RequestGuard(Arc::clone(self))
    }

    /// It waits for the rest of a request, until the guard is dropped.
    pub(super) fn wait(&self) -> WaitGuard<'_> {
        self.state.waits_since.store(self.all.now(), Ordering::Relaxed);
        WaitGuard(self)
    }

    /// It holds so many bytes from now on.
    pub(super) fn hold(&self, bytes: usize) {
        let before = self.state.bytes.swap(bytes, Ordering::Relaxed);
        let total = &self.all.0.bytes;
        if bytes > before {
            total.fetch_add(bytes - before, Ordering::Relaxed);
        } else if before > bytes {
            total.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// Counts bytes of a head that arrived.
    pub(super) fn read_of_head(&self, bytes: usize) {
        if bytes == 0 || !self.state.waits_for_head.load(Ordering::Relaxed) {
            return;
        }
        let held = self.state.bytes.load(Ordering::Relaxed);
        // The buffer doubles as it grows.
        self.hold(if held == 0 { FIRST_BUFFER } else { held } + 2 * bytes);
        self.all.keep_limit();
    }

    /// Waits until it is told to go.
    pub(super) async fn told(&self) {
        self.state.told.notified().await;
    }
}

/// What a connection takes from the first byte of a head on, in bytes: a buffer for each direction, and its state.
const FIRST_BUFFER: usize = 20 * 1024;

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
        self.all.table().holders.remove(&self.number);
        if self.state.is_told.load(Ordering::Relaxed) {
            self.all.0.going.fetch_sub(1, Ordering::Relaxed);
        }
        self.all.0.gone.notify_waiters();
        self.all.keep_limit();
    }
}

/// A request that is handled.
pub(super) struct RequestGuard(Arc<Share>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Share { state, all, .. } = &*self.0;
        state.waits_for_head.store(true, Ordering::Relaxed);
        state.waits_since.store(all.now(), Ordering::Relaxed);
    }
}

/// Something that the caller still has to send.
pub(super) struct WaitGuard<'a>(&'a Share);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.state.waits_since.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(shares: &Shares, address: &str) -> Arc<Share> {
        Arc::new(shares.enter(address.parse().unwrap(), usize::MAX).unwrap())
    }

    fn is_told(share: &Share) -> bool {
        share.state.is_told.load(Ordering::Relaxed)
    }

    /// Makes room as if all had waited for long.
    fn make_room(shares: &Shares) {
        shares.make_room_of(Shortage::Places, 1, u64::MAX);
    }

    #[test]
    fn the_slowest_of_who_holds_most_makes_room() {
        let shares = Shares::default();
        let first = enter(&shares, "9.9.9.9");
        let [old, busy, new] = [(); 3].map(|()| enter(&shares, "1.2.3.4"));
        let request = busy.request();
        make_room(&shares);
        assert!(is_told(&old));
        // One at a time.
        make_room(&shares);
        assert!(!is_told(&new) && !is_told(&first));
        drop(old);
        make_room(&shares);
        assert!(is_told(&new) && !is_told(&busy));
        drop(new);
        // Of those that hold as much, the one that has waited longest.
        drop(request);
        make_room(&shares);
        assert!(is_told(&first));
        drop(first);
        let request = busy.request();
        make_room(&shares);
        assert!(!is_told(&busy));
        let rest = busy.wait();
        shares.make_room(Shortage::Places);
        assert!(!is_told(&busy), "it has only just begun");
        make_room(&shares);
        assert!(is_told(&busy));
        drop((rest, request));
    }

    #[test]
    fn a_network_is_a_peer_and_this_machine_goes_last() {
        let shares = Shares::default();
        let near: Vec<_> = (0..9).map(|_| enter(&shares, "::ffff:127.0.0.1")).collect();
        let one = enter(&shares, "2001:db8::1");
        let others = [enter(&shares, "2001:db9::1"), enter(&shares, "2001:db9::ffff:1")];
        make_room(&shares);
        assert!(is_told(&others[0]) && !is_told(&one));
        drop((others, one));
        make_room(&shares);
        assert!(is_told(&near[0]));
    }

    #[test]
    fn heads_are_counted_until_they_are_whole() {
        let shares = Shares::of(2 * FIRST_BUFFER + 12_000);
        let [idle, one, other] = ["1.1.1.1", "2.2.2.2", "2.2.2.2"].map(|address| enter(&shares, address));
        let held = || shares.0.bytes.load(Ordering::Relaxed);
        one.read_of_head(1000);
        other.read_of_head(1000);
        assert_eq!(held(), 2 * (FIRST_BUFFER + 2000));
        let request = one.request();
        assert_eq!(held(), FIRST_BUFFER + 2000);
        // Bodies have a budget of their own.
        one.read_of_head(1_000_000);
        drop(request);
        one.read_of_head(5000);
        assert!(!is_told(&other) && held() == 2 * FIRST_BUFFER + 12_000);
        one.read_of_head(7_000);
        assert!(is_told(&other) && !is_told(&one) && !is_told(&idle));
        // It goes on until there is room.
        one.hold(4 * FIRST_BUFFER);
        drop(other);
        assert!(is_told(&one) && !is_told(&idle));
        drop(one);
        assert_eq!(held(), 0);
    }

    #[tokio::test]
    async fn who_comes_to_a_full_house_gets_the_place_of_another() {
        let shares = Shares::default();
        let held = shares.enter("1.2.3.4".parse().unwrap(), 1).unwrap();
        assert!(shares.enter("9.9.9.9".parse().unwrap(), 1).is_none());
        let goes = async move {
            held.told().await;
            drop(held);
        };
        let ((), share) = tokio::join!(goes, shares.enter_in_turn("9.9.9.9".parse().unwrap(), 1));
        assert_eq!(share.address(), "9.9.9.9".parse::<IpAddr>().unwrap());
    }
}
