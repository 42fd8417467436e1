//! Sends finished spans to the collector, many at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::TracesConfig;
use crate::otlp::Collector;
use crate::otlp::messages::{
    ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span,
};
use crate::tasks::{TaskKind, Tasks};
use crate::tls::TlsError;

/// Spans that go in one message.
const BATCH_MAX: usize = 512;
/// How long spans are gathered for one.
const GATHER: Duration = Duration::from_secs(1);
/// How long the last ones may take when the process ends.
const LAST_MAX: Duration = Duration::from_millis(500);

/// Spans that are finished and not sent.
pub struct Finished {
    pub(super) spans: mpsc::Receiver<Span>,
    /// Those that found no place among them.
    pub(super) dropped: Arc<AtomicU64>,
}

impl Finished {
    /// Sends them from now on, in the background; nowhere when no collector is configured. To be
    /// called within a runtime.
    ///
    /// # Errors
    /// [`TlsError`] when the collector's certificates or address cannot be used.
    pub fn export(
        self,
        config: &TracesConfig,
        resource: Resource,
        tasks: &Tasks,
    ) -> Result<(), TlsError> {
        let Some(otlp) = &config.otlp else { return Ok(()) };
        let exporter = Exporter { finished: self, collector: otlp.collector()?, resource };
        let stop = tasks.token();
        tasks.spawn(TaskKind::Background, "trace exporter", exporter.run(stop));
        Ok(())
    }
}

struct Exporter {
    finished: Finished,
    collector: Collector,
    resource: Resource,
}

impl Exporter {
    async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut was_told = false;
        loop {
            let mut spans = Vec::with_capacity(BATCH_MAX);
            let stops = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                received = self.finished.spans.recv_many(&mut spans, BATCH_MAX) => received == 0,
            };
            if stops {
                self.last().await;
                return Ok(());
            }
            if spans.len() < BATCH_MAX {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
                while spans.len() < BATCH_MAX
                    && let Ok(span) = self.finished.spans.try_recv()
                {
                    spans.push(span);
                }
            }
            let lost = self.finished.dropped.swap(0, Ordering::Relaxed);
            let (count, sent) = (spans.len(), self.send(spans).await);
            // Spans are not sent again: what comes now matters more.
            let is_well = sent.is_ok() && lost == 0;
            if let (Err(error), false) = (&sent, was_told) {
                tracing::warn!(%error, count, "the collector takes no traces");
            } else if lost > 0 && !was_told {
                tracing::warn!(lost, "traces come faster than they are sent");
            }
            was_told = !is_well;
        }
    }

    /// What is there at the end.
    async fn last(&mut self) {
        let mut spans = Vec::new();
        while spans.len() < BATCH_MAX
            && let Ok(span) = self.finished.spans.try_recv()
        {
            spans.push(span);
        }
        if !spans.is_empty() {
            // Nobody is left to tell.
            tokio::time::timeout(LAST_MAX, self.send(spans)).await.ok();
        }
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), String> {
        let scope = InstrumentationScope {
            name: "lockbox".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let of_this = ResourceSpans { resource: Some(self.resource.clone()), scope_spans };
        let request = ExportTraceServiceRequest { resource_spans: vec![of_this] };
        let sent = self.collector.export_traces(request).await;
        sent.map(drop).map_err(|status| format!("{:?}: {}", status.code(), status.message()))
    }
}
