//! What a destruction leaves in memory beside files: data keys in the buffers of the connection over
//! which the KMS has opened them.

use std::convert::Infallible;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Goes on over another connection to the KMS after each purge, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn forget_destroyed(
    app: Arc<App>,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    let mut clean_ups = app.replica.clean_ups();
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            changed = clean_ups.changed() => match changed {
                Ok(()) => app.kms.renew_connection(),
                // The replica is gone, and the node ends.
                Err(_) => {
                    cancelled.cancelled().await;
                    return Ok(());
                }
            },
        }
    }
}
