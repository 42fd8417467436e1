//! Packing of messages into `Any`.
//!
//! Owns the spelling of type URLs: SDKs compare them with the types declared for an operation
//! (contract §0.3), so there is one place that makes them. Unpacking is `Any::to_msg`.

use prost::{Message, Name};
use prost_types::Any;

/// Packs a message under `type.googleapis.com/<full name>`.
///
/// ```
/// use lockbox_proto::yandex::cloud::lockbox::v1::DeleteSecretMetadata;
///
/// let packed = lockbox_proto::any::pack(&DeleteSecretMetadata::default());
/// assert_eq!(
///     packed.type_url,
///     "type.googleapis.com/yandex.cloud.lockbox.v1.DeleteSecretMetadata"
/// );
/// ```
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}
