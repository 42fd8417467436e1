//! How to reach the KMS: what flags and settings say, else what the server says.

use clap::Args;
use lockbox_proto::yandex::cloud::endpoint::GetApiEndpointRequest;
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_client::ApiEndpointServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::folder::Folder;
use crate::cli::output::Format;
use crate::cli::session::{Kind, Session};
use crate::cli::settings;

/// Flags that say where the KMS is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct KmsFlags {
    /// The KMS, as host:port, when it is another than the server names
    /// [env: LOCKBOX_KMS_ENDPOINT].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    kms_endpoint: Option<String>,
    /// The name in the certificate of the KMS; the host of its address when not given.
    #[arg(long, global = true, value_name = "NAME")]
    kms_server_name: Option<String>,
}

/// Which of its endpoints is asked for (`contract §0.1`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plane {
    /// Keys.
    Control,
    /// What they encrypt.
    Data,
}

impl Plane {
    const fn endpoint_id(self) -> &'static str {
        match self {
            Self::Control => "kms",
            Self::Data => "kms-crypto",
        }
    }
}

/// What a command of the KMS works with.
pub(crate) struct KmsContext<'a> {
    context: &'a Context<'a>,
    flags: &'a KmsFlags,
    plane: Plane,
}

/// A caller at both servers.
pub(crate) struct Kms<'a> {
    /// At the one that is called, which knows folders and accounts.
    pub(crate) node: &'a Session,
    /// At the KMS.
    pub(crate) session: Session,
    /// The rest of what flags and settings say.
    pub(crate) context: &'a Context<'a>,
}

impl<'a> KmsContext<'a> {
    pub(crate) const fn new(context: &'a Context<'a>, flags: &'a KmsFlags, plane: Plane) -> Self {
        Self { context, flags, plane }
    }

    /// How the answer is printed.
    pub(crate) fn format(&self) -> Format {
        self.context.format()
    }

    /// The folder that keys are created and looked up in.
    pub(crate) fn folder(&self) -> Result<Folder, Failure> {
        self.context.folder()
    }

    /// Connects, logs in, finds the KMS and does this.
    pub(crate) fn run<R>(
        &self,
        action: impl AsyncFnOnce(&Kms<'_>) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.context.run(async |node| {
            let address = self.address(node).await?;
            let server_name = self.flags.kms_server_name.as_deref();
            let connection = self.context.other(&address, server_name)?;
            let session = node.at(&connection).await?;
            action(&Kms { node, session, context: self.context }).await
        })
    }

    async fn address(&self, node: &Session) -> Result<String, Failure> {
        let flag = self.flags.kms_endpoint.as_deref();
        if let Some(address) = self.context.setting(settings::KMS_ENDPOINT, flag) {
            return Ok(address);
        }
        let api_endpoint_id = self.plane.endpoint_id().to_owned();
        let request = GetApiEndpointRequest { api_endpoint_id };
        let send =
            async |channel, request| ApiEndpointServiceClient::new(channel).get(request).await;
        Ok(node.call(Kind::Repeatable, &request, send).await?.address)
    }
}
