//! The network between the nodes: connections whose bytes arrive later, wait behind a partition
//! as TCP's retransmissions do, or are cut off by a reset.
//!
//! Nothing that is sent in one step of the driver arrives in the same step, so the order in which
//! the driver runs the nodes decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use lockbox_core::NodeId;
use tokio::io::ReadBuf;

use crate::harness::Random;
use crate::plan::NetworkPlan;
use crate::time::WorldTime;
use crate::trace::Trace;

/// Bytes that a sender may have on their way in one direction of a connection.
const FLYING_BYTES_MAX: usize = 256 << 10;
/// After a partition, the next retransmission takes up to so long.
const RETRANSMISSION_MS: std::ops::Range<u64> = 1..400;

/// One direction of a connection.
pub(crate) type LaneId = u64;

enum Segment {
    /// Asks for a connection; the answer goes the other way.
    Open,
    Accepted,
    Refused,
    Data(Vec<u8>),
    /// Nothing more comes.
    End,
    /// The connection is gone.
    Reset,
}

struct Lane {
    from: NodeId,
    to: NodeId,
    /// The opposite direction of the same connection.
    back: LaneId,
    flying: VecDeque<(u64, Segment)>,
    flying_bytes: usize,
    not_before_ms: u64,
    arrived: VecDeque<u8>,
    accepted: Option<Result<(), io::ErrorKind>>,
    ended: bool,
    reset: bool,
    /// The writer has said that nothing more comes.
    finished: bool,
    /// Nobody reads any more.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Whether anybody answers at a node's address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Listening,
    /// The machine is there, the process is not: connections are refused.
    Refusing,
    /// The machine has no power: nothing is answered.
    Silent,
}

struct Door {
    presence: Presence,
    waiting: VecDeque<(LaneId, LaneId)>,
    waker: Option<Waker>,
}

struct State {
    random: Random,
    lanes: BTreeMap<LaneId, Lane>,
    next: LaneId,
    doors: BTreeMap<NodeId, Door>,
    held: BTreeSet<(NodeId, NodeId)>,
    /// The usual way of a link, in addition to the jitter.
    base_ms: BTreeMap<(NodeId, NodeId), u64>,
}

/// All connections between all nodes.
pub(crate) struct Network {
    time: WorldTime,
    trace: Trace,
    plan: NetworkPlan,
    state: Mutex<State>,
}

impl Network {
    pub(crate) fn new(
        nodes: &[NodeId],
        plan: NetworkPlan,
        mut random: Random,
        time: WorldTime,
        trace: Trace,
    ) -> Self {
        let door = |_| Door { presence: Presence::Silent, waiting: VecDeque::new(), waker: None };
        let doors = nodes.iter().map(|id| (*id, door(id))).collect();
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
        let base_ms = pairs.map(|pair| (pair, random.within(&plan.base_ms))).collect();
        let (lanes, held) = (BTreeMap::new(), BTreeSet::new());
        let state = Mutex::new(State { random, lanes, next: 0, doors, held, base_ms });
        Self { time, trace, plan, state }
    }

    /// Asks for a connection.
    pub(crate) fn connect(&self, from: NodeId, to: NodeId) -> (LaneId, LaneId) {
        let mut state = self.state.lock().unwrap();
        let (outbound, inbound) = (state.next, state.next + 1);
        state.next += 2;
        state.lanes.insert(outbound, Lane::new(from, to, inbound));
        state.lanes.insert(inbound, Lane::new(to, from, outbound));
        self.send(&mut state, outbound, Segment::Open);
        (inbound, outbound)
    }

    /// Waits for the answer to [`Self::connect`].
    pub(crate) fn poll_connected(&self, inbound: LaneId, waker: &Waker) -> Poll<io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        let lane = state.lanes.get_mut(&inbound).unwrap();
        match lane.accepted {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            None => {
                lane.reader = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_accept(&self, node: NodeId, waker: &Waker) -> Poll<(LaneId, LaneId)> {
        let mut state = self.state.lock().unwrap();
        let door = state.doors.get_mut(&node).unwrap();
        match door.waiting.pop_front() {
            Some(lanes) => Poll::Ready(lanes),
            None => {
                door.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_read(
        &self,
        lane: LaneId,
        waker: &Waker,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        let lane = state.lanes.get_mut(&lane).unwrap();
        if lane.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if lane.arrived.is_empty() && !lane.ended {
            lane.reader = Some(waker.clone());
            return Poll::Pending;
        }
        let (front, _) = lane.arrived.as_slices();
        let length = front.len().min(buffer.remaining());
        buffer.put_slice(&front[..length]);
        lane.arrived.drain(..length);
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(
        &self,
        id: LaneId,
        waker: &Waker,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock().unwrap();
        let lane = state.lanes.get_mut(&id).filter(|lane| !lane.reset && !lane.finished);
        let Some(lane) = lane else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = FLYING_BYTES_MAX.saturating_sub(lane.flying_bytes);
        if room == 0 {
            lane.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let length = room.min(bytes.len());
        lane.flying_bytes += length;
        self.send(&mut state, id, Segment::Data(bytes[..length].to_vec()));
        Poll::Ready(Ok(length))
    }

    /// Nothing more is written to the lane.
    pub(crate) fn finish(&self, id: LaneId) {
        let mut state = self.state.lock().unwrap();
        let Some(lane) = state.lanes.get_mut(&id) else { return };
        let first = !std::mem::replace(&mut lane.finished, true);
        if first && !lane.reset {
            self.send(&mut state, id, Segment::End);
        }
    }

    /// Nobody reads the lane any more: what still comes is answered by a reset.
    pub(crate) fn abandon(&self, id: LaneId) {
        let mut state = self.state.lock().unwrap();
        if let Some(lane) = state.lanes.get_mut(&id) {
            lane.abandoned = true;
        }
    }

    fn send(&self, state: &mut State, id: LaneId, segment: Segment) {
        // Both ends of the connection may have gone while something was on its way.
        let Some(lane) = state.lanes.get(&id) else { return };
        let base = state.base_ms[&(lane.from, lane.to)];
        let random = &mut state.random;
        let late = if random.chance(self.plan.spikes_permille) { self.plan.spike_ms } else { 0 };
        let due = self.time.now_ms() + base + random.within(&self.plan.jitter_ms) + late;
        let lane = state.lanes.get_mut(&id).unwrap();
        // A lane is a stream: nothing overtakes.
        let due = due.max(lane.flying.back().map_or(0, |(due, _)| *due));
        lane.flying.push_back((due, segment));
    }

    /// Lets arrive what is due.
    pub(crate) fn deliver(&self) {
        let now_ms = self.time.now_ms();
        let mut state = self.state.lock().unwrap();
        let ids: Vec<LaneId> = state.lanes.keys().copied().collect();
        for id in ids {
            loop {
                let lane = &state.lanes[&id];
                let due = lane.flying.front().is_some_and(|(due, _)| *due <= now_ms);
                if !due || lane.not_before_ms > now_ms || state.held.contains(&lane.ends()) {
                    break;
                }
                self.arrive(&mut state, id);
            }
        }
        state.lanes.retain(|_, lane| !(lane.abandoned && lane.finished && lane.flying.is_empty()));
    }

    fn arrive(&self, state: &mut State, id: LaneId) {
        let lane = state.lanes.get_mut(&id).unwrap();
        let Some((_, segment)) = lane.flying.pop_front() else { return };
        let (to, back) = (lane.to, lane.back);
        let presence = state.doors[&to].presence;
        match segment {
            Segment::Open => match presence {
                Presence::Silent => {}
                Presence::Refusing => self.send(state, back, Segment::Refused),
                Presence::Listening => {
                    let door = state.doors.get_mut(&to).unwrap();
                    door.waiting.push_back((id, back));
                    door.waker.take().into_iter().for_each(Waker::wake);
                    self.send(state, back, Segment::Accepted);
                }
            },
            Segment::Accepted => lane.answered(Ok(())),
            Segment::Refused => lane.answered(Err(io::ErrorKind::ConnectionRefused)),
            Segment::Data(bytes) => {
                lane.flying_bytes -= bytes.len();
                lane.writer.take().into_iter().for_each(Waker::wake);
                self.trace.hash("bytes", &bytes);
                if lane.abandoned && presence != Presence::Silent {
                    self.send(state, back, Segment::Reset);
                } else if !lane.abandoned {
                    lane.arrived.extend(bytes);
                    lane.reader.take().into_iter().for_each(Waker::wake);
                }
            }
            Segment::End => {
                lane.ended = true;
                lane.reader.take().into_iter().for_each(Waker::wake);
            }
            Segment::Reset => {
                lane.fail();
                if let Some(lane) = state.lanes.get_mut(&back) {
                    lane.fail();
                }
            }
        }
    }

    /// Makes a node answer at its address, or not.
    pub(crate) fn set_presence(&self, node: NodeId, presence: Presence) {
        let mut state = self.state.lock().unwrap();
        let door = state.doors.get_mut(&node).unwrap();
        door.presence = presence;
        door.waiting.clear();
    }

    /// The machine loses its power: what it has not sent is lost, and its connections end without
    /// a word. To be called before its runtime goes, or its sockets would be closed in order.
    pub(crate) fn cut_power(&self, node: NodeId) {
        self.set_presence(node, Presence::Silent);
        let mut state = self.state.lock().unwrap();
        for lane in state.lanes.values_mut() {
            if lane.from == node {
                lane.flying.clear();
                lane.finished = true;
            }
            lane.abandoned |= lane.to == node;
        }
    }

    /// Holds back everything on its way from one node to another.
    pub(crate) fn hold(&self, from: NodeId, to: NodeId) {
        self.state.lock().unwrap().held.insert((from, to));
    }

    /// Ends a [`Self::hold`]: what waited arrives with the next retransmission.
    pub(crate) fn release(&self, from: NodeId, to: NodeId) {
        let mut state = self.state.lock().unwrap();
        if !state.held.remove(&(from, to)) {
            return;
        }
        let State { random, lanes, .. } = &mut *state;
        for lane in lanes.values_mut().filter(|lane| lane.ends() == (from, to)) {
            lane.not_before_ms = self.time.now_ms() + random.within(&RETRANSMISSION_MS);
        }
    }

    pub(crate) fn release_all(&self) {
        let held: Vec<_> = self.state.lock().unwrap().held.iter().copied().collect();
        held.into_iter().for_each(|(from, to)| self.release(from, to));
    }

    /// Breaks every connection between two nodes, as a firewall that forgot them.
    pub(crate) fn reset(&self, a: NodeId, b: NodeId) {
        let mut state = self.state.lock().unwrap();
        for lane in state.lanes.values_mut() {
            if lane.ends() == (a, b) || lane.ends() == (b, a) {
                lane.flying.clear();
                lane.flying_bytes = 0;
                lane.fail();
            }
        }
    }
}

impl Lane {
    fn new(from: NodeId, to: NodeId, back: LaneId) -> Self {
        Self {
            from,
            to,
            back,
            flying: VecDeque::new(),
            flying_bytes: 0,
            not_before_ms: 0,
            arrived: VecDeque::new(),
            accepted: None,
            ended: false,
            reset: false,
            finished: false,
            abandoned: false,
            reader: None,
            writer: None,
        }
    }

    const fn ends(&self) -> (NodeId, NodeId) {
        (self.from, self.to)
    }

    fn answered(&mut self, answer: Result<(), io::ErrorKind>) {
        self.accepted = Some(answer);
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn fail(&mut self) {
        self.reset = true;
        if self.accepted.is_none() {
            self.accepted = Some(Err(io::ErrorKind::ConnectionReset));
        }
        self.reader.take().into_iter().for_each(Waker::wake);
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}
