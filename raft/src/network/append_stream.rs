//! Pipelined replication: many batches on their way to one peer, answered in order.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::base::BoxStream;
use openraft::entry::RaftEntry;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::client::NetworkContext;
use super::convert;
use super::failure::Call;
use super::link::PeerLink;
use crate::types::{LogId, TypeConfig};

/// Batches that may be on their way to one peer; as many as openraft's receiving side buffers.
const BATCHES_IN_FLIGHT_MAX: usize = 64;
/// A batch may wait this many times the budget of one exchange for its answer: those before it
/// are answered first, and each waits for a sync of the peer's disk.
const STALL_FACTOR: u32 = 8;

/// What a pipeline needs beside its batches.
pub(super) struct AppendPipeline {
    pub(super) context: Arc<NetworkContext>,
    pub(super) link: PeerLink,
    pub(super) call: Call,
    pub(super) budget: Duration,
}

/// Which part of the log a batch covers: what its answer is about.
struct Span {
    prev: Option<LogId>,
    last: Option<LogId>,
}

impl Span {
    fn of(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(RaftEntry::log_id).or(prev);
        Self { prev, last }
    }
}

type StreamItem = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Opens the stream and returns the answers.
///
/// Nothing is opened before there is a first batch: openraft waits out its backoff inside `input`,
/// so a peer that is down would otherwise be called again at once, for ever. An input that ends
/// without a batch was cancelled.
pub(super) async fn open<S>(
    pipeline: AppendPipeline,
    mut input: S,
) -> Result<BoxStream<'static, StreamItem>, RPCError<TypeConfig>>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
    let input = stream::once(std::future::ready(first)).chain(input);
    let AppendPipeline { context, link, call, budget } = pipeline;
    let opening = async {
        let header = link.header().await?;
        let (sent, unanswered) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let requests = requests(input, header, sent);
        let replies = link.raft().append_stream(requests).await?.into_inner();
        Ok::<_, Status>((unanswered, replies))
    };
    let (unanswered, replies) = match tokio::time::timeout(budget, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => {
            link.saw(&status);
            return Err(link.silent(call.failed(&status)));
        }
        Err(_elapsed) => return Err(link.silent(call.timed_out(budget))),
    };
    let stall = budget.saturating_mul(STALL_FACTOR);
    let answers = Answers { context, link, call, stall, unanswered, early: None, replies };
    Ok(stream::unfold(Some(answers), step).boxed())
}

/// Turns batches into messages. The bound on what is unanswered is what slows the input down.
fn requests<S>(
    input: S,
    header: wire::PeerHeader,
    sent: mpsc::Sender<Span>,
) -> impl Stream<Item = wire::AppendRequest> + Send + 'static
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    stream::unfold((input, header, sent), |(mut input, header, sent)| async move {
        let request = input.next().await?;
        // ORDER: the span is queued before its request can leave, so that an answer finds it.
        sent.send(Span::of(&request)).await.ok()?;
        let message = convert::append_to_wire(&request, header.clone());
        Some((message, (input, header, sent)))
    })
}

/// The answering side of one pipeline.
struct Answers {
    context: Arc<NetworkContext>,
    link: PeerLink,
    call: Call,
    stall: Duration,
    unanswered: mpsc::Receiver<Span>,
    /// An answer that was read before its span was seen in the queue.
    early: Option<wire::AppendReply>,
    replies: Streaming<wire::AppendReply>,
}

/// Takes the next answer; the stream ends after the first that is not a full success.
async fn step(state: Option<Answers>) -> Option<(StreamItem, Option<Answers>)> {
    let mut answers = state?;
    match answers.next().await {
        Ok(None) => None,
        Ok(Some((result, true))) => Some((Ok(result), Some(answers))),
        Ok(Some((result, false))) => Some((Ok(result), None)),
        Err(error) => Some((Err(error), None)),
    }
}

impl Answers {
    /// The next answer, and whether the pipeline goes on behind it.
    async fn next(
        &mut self,
    ) -> Result<Option<(StreamAppendResult<TypeConfig>, bool)>, RPCError<TypeConfig>> {
        let Some(span) = self.next_span().await? else { return Ok(None) };
        let reply = match self.early.take() {
            Some(reply) => reply,
            None => self.next_reply().await?,
        };
        self.context.clocks().heard(self.call.target, reply.wall_clock_ms);
        self.context.room().heard(self.call.target, reply.disk_is_low);
        let reply =
            convert::append_reply_from_wire(&reply).map_err(|error| self.call.malformed(&error))?;
        let goes_on = match &reply {
            AppendEntriesResponse::Success => true,
            AppendEntriesResponse::PartialSuccess(matching) => *matching == span.last,
            AppendEntriesResponse::Conflict if span.prev.is_none() => {
                return Err(self.call.broken("the start of the log cannot conflict"));
            }
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => false,
        };
        Ok(Some((reply.into_stream_result(span.prev, span.last), goes_on)))
    }

    /// The oldest unanswered batch; `None` when there will be no more. Notices a connection that
    /// breaks while nothing is on its way.
    async fn next_span(&mut self) -> Result<Option<Span>, RPCError<TypeConfig>> {
        loop {
            tokio::select! {
                biased;
                span = self.unanswered.recv() => return Ok(span),
                reply = self.replies.message(), if self.early.is_none() => {
                    self.early = Some(self.received(reply)?);
                }
            }
        }
    }

    async fn next_reply(&mut self) -> Result<wire::AppendReply, RPCError<TypeConfig>> {
        match tokio::time::timeout(self.stall, self.replies.message()).await {
            Ok(reply) => self.received(reply),
            Err(_elapsed) => Err(self.link.silent(self.call.timed_out(self.stall))),
        }
    }

    fn received(
        &self,
        reply: Result<Option<wire::AppendReply>, Status>,
    ) -> Result<wire::AppendReply, RPCError<TypeConfig>> {
        match reply {
            Ok(Some(reply)) => {
                self.link.answered();
                Ok(reply)
            }
            Ok(None) => Err(self.call.broken("the peer ended the stream")),
            Err(status) => {
                self.link.saw(&status);
                Err(self.link.silent(self.call.failed(&status)))
            }
        }
    }
}
