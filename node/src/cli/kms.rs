//! `lockbox kms`: symmetric keys, and what they encrypt.
//!
//! The KMS is another server than the one that is called by `--endpoint`: that one says where it
//! is, and gives the token that the KMS is shown.

mod access;
mod connect;
mod create;
mod crypto;
mod files;
mod key;
mod lifecycle;
mod read;
mod target;
mod update;
mod versions;

use clap::{Args, Subcommand};

use self::connect::{KmsContext, KmsFlags, Plane};
use crate::cli::connect::{ConnectionFlags, Context};
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;

/// `lockbox kms`.
#[derive(Debug, Args)]
pub(crate) struct KmsArgs {
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(flatten)]
    kms: KmsFlags,
    #[command(subcommand)]
    command: KmsCommand,
}

#[derive(Debug, Subcommand)]
enum KmsCommand {
    /// Manages symmetric keys and their versions.
    #[command(subcommand, alias = "symmetric-keys")]
    SymmetricKey(Box<key::KeyCommand>),
    /// Encrypts and decrypts with symmetric keys.
    #[command(subcommand)]
    SymmetricCrypto(crypto::CryptoCommand),
}

/// Runs `lockbox kms`.
pub(crate) fn run(arguments: KmsArgs, environment: &Environment) -> Result<(), Failure> {
    let context = Context::new(&arguments.connection, environment)?;
    let at = |plane| KmsContext::new(&context, &arguments.kms, plane);
    match arguments.command {
        KmsCommand::SymmetricKey(command) => command.run(&at(Plane::Control)),
        KmsCommand::SymmetricCrypto(command) => command.run(&at(Plane::Data)),
    }
}
