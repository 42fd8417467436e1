//! `Any` and the descriptor pool.

use lockbox_proto::yandex::cloud::lockbox::v1::{AddVersionMetadata, Secret};
use lockbox_proto::{OPERATION_TYPES, any, descriptor_pool};
use prost_reflect::{DynamicMessage, ReflectMessage};

#[test]
fn packed_messages_carry_the_declared_type_and_come_back() {
    let metadata =
        AddVersionMetadata { secret_id: "e6q1".to_owned(), version_id: "e6q2".to_owned() };
    let packed = any::pack(&metadata);
    assert_eq!(packed.type_url, "type.googleapis.com/yandex.cloud.lockbox.v1.AddVersionMetadata");
    assert_eq!(packed.to_msg::<AddVersionMetadata>().expect("same type"), metadata);
    assert!(packed.to_msg::<Secret>().is_err());
    assert_eq!(any::pack(&()).type_url, "type.googleapis.com/google.protobuf.Empty");
}

#[test]
fn operation_types_are_known_to_the_pool() {
    for types in OPERATION_TYPES {
        for name in [types.metadata, types.response] {
            let message = descriptor_pool().get_message_by_name(name).expect("declared");
            assert_eq!(DynamicMessage::new(message).descriptor().full_name(), name);
        }
    }
}

#[test]
fn descriptors_keep_comments_for_reflection() {
    let service = descriptor_pool()
        .get_service_by_name("yandex.cloud.lockbox.v1.PayloadService")
        .expect("declared");
    let file = service.parent_file();
    let file = file.file_descriptor_proto();
    let locations = file.source_code_info.as_ref().map_or(0, |info| info.location.len());
    assert!(locations > 0);
}
