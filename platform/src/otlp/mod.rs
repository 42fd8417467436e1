//! OTLP over gRPC, as much of it as is sent: spans and log records, to one collector.
//!
//! The messages are those of `opentelemetry-proto` 1.x, with the fields that are filled in. Refuses
//! to know what is sent and when.

mod config;
pub mod messages;

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub use self::config::OtlpConfig;
pub(crate) use self::config::is_loopback;
use self::messages::{
    ExportLogsServiceRequest, ExportLogsServiceResponse, ExportTraceServiceRequest,
    ExportTraceServiceResponse,
};

/// Where a collector takes log records.
pub const LOGS_EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// Where it takes spans.
pub const TRACES_EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// How long one export may take.
const EXPORT_MAX: Duration = Duration::from_secs(10);

/// A collector. Connects when it is first used, and again after a failure.
#[derive(Debug, Clone)]
pub struct Collector {
    channel: Channel,
}

impl Collector {
    /// The one at the other end of this channel.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Sends log records; they are there when this returns.
    ///
    /// # Errors
    /// [`Status`] as the collector or the transport gave it.
    pub async fn export_logs(
        &self,
        logs: ExportLogsServiceRequest,
    ) -> Result<ExportLogsServiceResponse, Status> {
        self.export(LOGS_EXPORT, logs).await
    }

    /// Sends spans.
    ///
    /// # Errors
    /// [`Status`] as the collector or the transport gave it.
    pub async fn export_traces(
        &self,
        traces: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Status> {
        self.export(TRACES_EXPORT, traces).await
    }

    async fn export<Q, A>(&self, method: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        request.set_timeout(EXPORT_MAX);
        let mut client = Grpc::new(self.channel.clone());
        let exporting = async move {
            let ready = client.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            client.unary(request, PathAndQuery::from_static(method), codec).await
        };
        match tokio::time::timeout(EXPORT_MAX, exporting).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_elapsed) => Err(Status::deadline_exceeded("the collector does not answer")),
        }
    }
}
