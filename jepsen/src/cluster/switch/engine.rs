//! The thread that passes packets from device to device.
//!
//! Promises: a rule that was installed before a packet came decides about it, and a link that is
//! blocked lets nothing out of its queue either. Packets to addresses that nobody has are dropped.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tappers::Tun;

use super::rule::{Fate, LinkPast, decide};
use super::table::{Path, Table};
use crate::moment::now;
use crate::random::Random;

/// How many packets are taken from one device before the others get their turn.
const BATCH: usize = 64;
/// Longest packet: the devices' MTU is far below.
const PACKET_BYTES: usize = 65_536;
/// How much waits in all queues together; more is lost.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Without packets the thread looks for its end this often.
const IDLE: Duration = Duration::from_millis(500);

/// A host's end: the device in its namespace and the addresses behind it.
pub struct Port {
    /// The device.
    pub(crate) device: Tun,
    /// Who is behind it.
    pub(crate) addresses: Vec<Ipv4Addr>,
}

/// A packet that waits for its time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at_us: u64,
    /// Packets of one time go in the order in which they came.
    number: u64,
    path: Path,
    packet: Vec<u8>,
}

pub(super) struct Engine {
    ports: Vec<Port>,
    routes: HashMap<Ipv4Addr, usize>,
    table: Arc<Mutex<Table>>,
    wake: OwnedFd,
    past: HashMap<Path, LinkPast>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    waiting_bytes: usize,
    number: u64,
    random: Random,
    began: Instant,
}

pub(super) fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Each change of the table is whole before anything can panic.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub(super) fn new(
        ports: Vec<Port>,
        table: Arc<Mutex<Table>>,
        wake: OwnedFd,
        seed: u64,
    ) -> io::Result<Self> {
        let mut routes = HashMap::new();
        for (index, port) in ports.iter().enumerate() {
            rustix::io::ioctl_fionbio(port.device.as_fd(), true)?;
            routes.extend(port.addresses.iter().map(|address| (*address, index)));
        }
        Ok(Self {
            ports,
            routes,
            table,
            wake,
            past: HashMap::new(),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            number: 0,
            random: Random::new(seed),
            began: now(),
        })
    }

    /// Passes packets until somebody writes to the waking descriptor.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_BYTES];
        loop {
            if self.wait()? {
                return Ok(());
            }
            for index in 0..self.ports.len() {
                self.take(index, &mut buffer)?;
            }
            self.deliver();
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for a packet or for the time of one; true when it is time to end.
    fn wait(&self) -> io::Result<bool> {
        let next = self.waiting.peek().map(|Reverse(next)| next.at_us);
        let patience = next
            .map_or(IDLE, |at| Duration::from_micros(at.saturating_sub(self.now_us())).min(IDLE));
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        let devices = self.ports.iter().map(|port| PollFd::new(&port.device, PollFlags::IN));
        let mut all: Vec<_> = devices.collect();
        all.push(PollFd::new(&self.wake, PollFlags::IN));
        match poll(&mut all, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(all.last().is_some_and(|wake| !wake.revents().is_empty()))
    }

    fn take(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..BATCH {
            let Some(port) = self.ports.get(index) else { return Ok(()) };
            let length = match port.device.recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(packet) = buffer.get(..length)
                && let Some(path) = path_of(packet)
            {
                self.forward(path, packet);
            }
        }
        Ok(())
    }

    fn forward(&mut self, path: Path, packet: &[u8]) {
        let now_us = self.now_us();
        let table = Arc::clone(&self.table);
        let mut table = lock(&table);
        let rule = table.rule(path);
        let past = self.past.entry(path).or_default();
        let fate = decide(&rule, past, packet.len(), now_us, &mut self.random);
        let counts = table.count(path);
        let Fate::Arrives { at_us, reordered, twice } = fate else {
            if fate == Fate::Blocked {
                counts.blocked += 1;
            } else {
                counts.lost += 1;
            }
            return;
        };
        if at_us > now_us && self.waiting_bytes + packet.len() > WAITING_BYTES_MAX {
            counts.lost += 1;
            return;
        }
        counts.passed += 1;
        counts.duplicated += u64::from(twice);
        counts.reordered += u64::from(reordered);
        counts.delayed += u64::from(at_us > now_us);
        drop(table);
        for _ in 0..=u8::from(twice) {
            if at_us <= now_us {
                self.send(path.1, packet);
            } else {
                self.number += 1;
                self.waiting_bytes += packet.len();
                let (number, packet) = (self.number, packet.to_vec());
                self.waiting.push(Reverse(Waiting { at_us, number, path, packet }));
            }
        }
    }

    fn deliver(&mut self) {
        let now_us = self.now_us();
        while self.waiting.peek().is_some_and(|Reverse(next)| next.at_us <= now_us) {
            let Some(Reverse(due)) = self.waiting.pop() else { return };
            self.waiting_bytes -= due.packet.len();
            let mut table = lock(&self.table);
            if table.is_blocked(due.path) {
                table.count(due.path).blocked += 1;
                continue;
            }
            drop(table);
            self.send(due.path.1, &due.packet);
        }
    }

    fn send(&self, to: Ipv4Addr, packet: &[u8]) {
        let port = self.routes.get(&to).and_then(|index| self.ports.get(*index));
        if let Some(port) = port {
            // A device that is full or down loses the packet, as a wire would.
            port.device.send(packet).ok();
        }
    }
}

/// The addresses in an IPv4 packet; none for what else a device may send by itself.
fn path_of(packet: &[u8]) -> Option<Path> {
    if packet.first()? >> 4 != 4 {
        return None;
    }
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    Some((address(12)?, address(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_packets_have_a_path() {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 77, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 77, 0, 2]);
        let expected = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
        assert_eq!(path_of(&packet), Some(expected));
        assert_eq!(path_of(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(path_of(&packet), None);
        assert_eq!(path_of(&[]), None);
    }
}
