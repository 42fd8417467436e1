//! Lockbox under load: payload reads and new versions, through its public API.

mod folder;
mod own_key;
mod session;

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;

use crate::arguments::{Folder, Members, Output, Shape, Watched};
use crate::connect::Connector;
use crate::run::{connection_count, measure};
use crate::sample;
use crate::target::Target;

pub use folder::{Secrets, Wanted, create_fresh};
pub(crate) use session::finished;
pub use session::{Api, Bearer, Session, set_entry, set_value};

/// Options of `load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// Where the secrets are.
    #[command(flatten)]
    pub folder: Folder,
    /// The load.
    #[command(flatten)]
    pub shape: Shape,
    /// Which members are asked.
    #[arg(long, value_enum, default_value_t = Members::All)]
    pub members: Members,
    /// Secrets of an own KMS key instead of the common key.
    #[arg(long, requires = "kms_endpoint")]
    pub own_key: bool,
    /// `host:port` of the KMS, where the own key is made.
    #[arg(long, env = "KMS_ENDPOINT")]
    pub kms_endpoint: Option<String>,
    /// What is watched.
    #[command(flatten)]
    pub watched: Watched,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// Runs the load against Lockbox.
///
/// # Errors
/// When a member cannot be reached, the secrets cannot be made, or not one operation succeeded.
pub async fn run(arguments: &LoadArguments) -> Result<()> {
    let LoadArguments { folder, shape, members, watched, output, .. } = arguments;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let first = folder.servers.endpoints.first().context("there is no endpoint")?;
    let mut api = Api::new(connector.connect(first).await?, &bearer);

    let kms_key_id = match &arguments.kms_endpoint {
        Some(kms) if arguments.own_key => {
            let channel = connector.connect(kms).await?;
            Some(own_key::find_or_create(channel, &bearer, &folder.folder_id).await?)
        }
        Some(_) | None => None,
    };
    let wanted = Wanted {
        purpose: if arguments.own_key { "own" } else { "common" },
        count: shape.secrets,
        value_bytes: shape.value_bytes,
        kms_key_id,
    };
    let secrets = Secrets::prepare(&api, &folder.folder_id, &wanted).await?;
    let ids: Arc<[String]> = secrets.ids.into();

    let endpoints = match members {
        Members::All => folder.servers.endpoints.clone(),
        Members::Leader => vec![api.leader(&folder.folder_id).await?],
    };
    let value = Arc::new(sample::value(shape.value_bytes));
    let targets: Vec<Target> = connector
        .connect_all(&endpoints, connection_count(shape, endpoints.len()))
        .await?
        .into_iter()
        .map(|channel| Session::new(channel, &bearer, Arc::clone(&ids), Arc::clone(&value)))
        .map(|session| Target::Lockbox(Box::new(session)))
        .collect();
    measure(&targets, shape, *members, watched, output).await.map(drop)
}
