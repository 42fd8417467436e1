//! A door in front of a node's peer listener, for machines where no link can be broken: while it
//! is shut, nothing that others send reaches the node.
//!
//! Connections are passed on byte by byte. Shutting the door closes those that are there and
//! refuses new ones. What the node itself sends to others does not come through here.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// The door. It ends with this value, and everything that goes through it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    is_shut: AtomicBool,
    is_ending: AtomicBool,
    /// Connections that were closed or refused.
    turned_away: AtomicU64,
    through: Mutex<Vec<Connection>>,
}

/// A connection that goes through, with the threads that pass it on.
struct Connection {
    ends: [TcpStream; 2],
    pumps: Vec<JoinHandle<()>>,
}

impl Connection {
    fn close(&self) {
        for end in &self.ends {
            // It may be closed already.
            end.shutdown(Shutdown::Both).ok();
        }
    }

    fn is_over(&self) -> bool {
        self.pumps.iter().all(JoinHandle::is_finished)
    }

    fn join(self) {
        self.close();
        for pump in self.pumps {
            // A pump only copies; a panic of it has closed nothing but this connection.
            pump.join().ok();
        }
    }
}

impl Proxy {
    /// Opens the door at `address`, in front of `target`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn open(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            is_shut: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            turned_away: AtomicU64::new(0),
            through: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let thread = thread.spawn(move || accepting.accept(&listener));
        let accepting = Some(thread.context("cannot start a proxy")?);
        Ok(Self { address, shared, accepting })
    }

    /// Lets nothing through, and closes what is there.
    pub fn shut(&self) {
        self.shared.is_shut.store(true, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Lets new connections through.
    pub fn reopen(&self) {
        self.shared.is_shut.store(false, Ordering::SeqCst);
    }

    /// Comes to the door and goes away again.
    ///
    /// # Errors
    /// When nobody is at the door.
    pub fn knock(&self) -> io::Result<()> {
        TcpStream::connect(self.address).map(drop)
    }

    /// How many connections were closed or refused since the door was made.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.shared.turned_away.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; when that fails, it has ended.
        self.knock().ok();
        if let Some(accepting) = self.accepting.take() {
            // Its panic would have been seen as a node that nobody reaches.
            accepting.join().ok();
        }
        for connection in std::mem::take(&mut *self.shared.lock()) {
            connection.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of connections is whole at any moment.
        self.through.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, listener: &TcpListener) {
        for incoming in listener.incoming() {
            if self.is_ending.load(Ordering::SeqCst) {
                return;
            }
            // One that is gone before it is accepted, or whose node is down, is nobody's fault.
            if let Ok(incoming) = incoming {
                self.pass(incoming).ok();
            }
        }
    }

    fn pass(&self, incoming: TcpStream) -> io::Result<()> {
        if self.is_shut.load(Ordering::SeqCst) {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let outgoing = TcpStream::connect(self.target)?;
        incoming.set_nodelay(true)?;
        outgoing.set_nodelay(true)?;
        let pumps = vec![
            pump(incoming.try_clone()?, outgoing.try_clone()?)?,
            pump(outgoing.try_clone()?, incoming.try_clone()?)?,
        ];
        let mut through = self.lock();
        through.retain(|connection| !connection.is_over());
        through.push(Connection { ends: [incoming, outgoing], pumps });
        drop(through);
        // ORDER: after it is in the list. A door that was shut meanwhile has closed all before.
        if self.is_shut.load(Ordering::SeqCst) {
            self.close_all();
        }
        Ok(())
    }

    fn close_all(&self) {
        let through = self.lock();
        for connection in through.iter().filter(|connection| !connection.is_over()) {
            connection.close();
            self.turned_away.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Passes on what one end sends until one of them is closed, then closes both.
fn pump(mut from: TcpStream, mut to: TcpStream) -> io::Result<JoinHandle<()>> {
    let pass_on = move || {
        // However it ends, the connection is over.
        io::copy(&mut from, &mut to).ok();
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    };
    std::thread::Builder::new().name("pump".to_owned()).spawn(pass_on)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                std::thread::spawn(move || io::copy(&mut from, &mut to));
            }
        });
        address
    }

    fn answers(mut stream: &TcpStream) -> bool {
        let mut answer = [0; 4];
        stream.write_all(b"ping").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"ping"
    }

    #[test]
    fn a_shut_door_closes_what_is_there_and_refuses_what_comes() {
        let proxy = Proxy::open("127.0.0.1:0".parse().unwrap(), echo()).unwrap();
        let connect = || TcpStream::connect(proxy.address).unwrap();
        let before = connect();
        assert!(answers(&before));
        proxy.shut();
        assert!(!answers(&before) && !answers(&connect()));
        assert_eq!(proxy.turned_away(), 2);
        proxy.reopen();
        assert!(!answers(&before), "what was closed stays closed");
        assert!(answers(&connect()));
    }
}
