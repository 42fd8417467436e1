//! The switch between real namespaces: packets pass, and rules do what they say.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use lockbox_jepsen::cluster::addresses::{Host, Link};
use lockbox_jepsen::cluster::netns::{Namespace, own_port};
use lockbox_jepsen::cluster::switch::{LinkRule, Switch};
use lockbox_jepsen::moment::now;

use crate::enclosed::enclosed;

const PORT: u16 = 9;
/// A packet that has not come by then is lost.
const LOST: Duration = Duration::from_millis(300);

struct Network {
    switch: Switch,
    /// Of node 1, node 2 and client 0.
    sockets: [UdpSocket; 3],
}

const HOSTS: [Host; 3] = [Host::Node(1), Host::Node(2), Host::Client(0)];

fn network() -> Network {
    let bind = |host: Host| {
        move || {
            let socket = UdpSocket::bind((host.address(), PORT))?;
            socket.set_read_timeout(Some(LOST))?;
            Ok(socket)
        }
    };
    let mut ports = vec![own_port().unwrap()];
    let node = |host: Host, ports: &mut Vec<_>| {
        let (namespace, port) = Namespace::make(host).unwrap();
        ports.push(port);
        namespace.within(bind(host)).unwrap()
    };
    let one = node(HOSTS[0], &mut ports);
    let two = node(HOSTS[1], &mut ports);
    let client = bind(HOSTS[2])().unwrap();
    Network { switch: Switch::start(ports, 1).unwrap(), sockets: [one, two, client] }
}

impl Network {
    /// Sends a packet, and says how long it took to arrive; none when it does not.
    fn send(&self, from: usize, to: usize) -> Option<Duration> {
        let began: Instant = now();
        self.sockets[from].send_to(b"packet", (HOSTS[to].address(), PORT)).unwrap();
        self.receive(to).map(|()| now().duration_since(began))
    }

    fn receive(&self, at: usize) -> Option<()> {
        let mut buffer = [0; 16];
        self.sockets[at].recv(&mut buffer).ok().map(|length| assert_eq!(length, 6))
    }

    fn install(&self, owner: u64, from: usize, to: usize, rule: LinkRule) {
        self.switch.install(owner, vec![(Link::new(HOSTS[from], HOSTS[to]), rule)]);
    }
}

#[test]
fn packets_pass_between_hosts_and_a_rule_is_for_one_direction() {
    enclosed(|| {
        let network = network();
        for (from, to) in [(0, 1), (1, 0), (2, 0), (0, 2)] {
            assert!(network.send(from, to).is_some(), "from {from} to {to}");
        }
        network.install(7, 0, 1, LinkRule::BLOCKED);
        assert!(network.send(0, 1).is_none());
        assert!(network.send(1, 0).is_some(), "the other direction is open");
        assert!(network.send(2, 1).is_some(), "the client plane is another one");
        let link = [Link::new(HOSTS[0], HOSTS[1])];
        assert_eq!(network.switch.counts(&link).blocked, 1);
        network.switch.remove(7);
        assert!(network.send(0, 1).is_some());
        network.switch.check().unwrap();
    });
}

#[test]
fn delay_duplicates_and_loss_are_as_ruled() {
    enclosed(|| {
        let network = network();
        assert!(network.send(0, 1).unwrap() < Duration::from_millis(50));
        network.install(1, 0, 1, LinkRule { delay_us: 100_000, ..LinkRule::default() });
        let took = network.send(0, 1).unwrap();
        assert!(took >= Duration::from_millis(100), "{took:?}");
        assert!(took < Duration::from_millis(200), "{took:?}");

        network.install(1, 0, 1, LinkRule { duplicate_percent: 100, ..LinkRule::default() });
        assert!(network.send(0, 1).is_some());
        assert!(network.receive(1).is_some(), "the second one");
        assert!(network.receive(1).is_none(), "there is no third one");

        network.install(1, 0, 1, LinkRule { drop_percent: 100, ..LinkRule::default() });
        assert!(network.send(0, 1).is_none());
        // What waits when a link is blocked is lost.
        network.install(1, 0, 1, LinkRule { delay_us: 100_000, ..LinkRule::default() });
        network.sockets[0].send_to(b"packet", (HOSTS[1].address(), PORT)).unwrap();
        network.install(2, 0, 1, LinkRule::BLOCKED);
        assert!(network.receive(1).is_none());
        network.switch.clear();
        assert!(network.send(0, 1).is_some());
    });
}
