//! Requests at the edges of their constraints (contract §1, §2.9, §2.11).

use std::collections::BTreeMap;

use lockbox_proto::validate::VIOLATIONS_MAX;
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest, Subject,
    UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::iam::v1::{
    CreateIamTokenRequest, CreateServiceAccountRequest, RevokeIamTokenRequest,
    create_iam_token_request::Identity,
};
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, SymmetricAlgorithm, SymmetricEncryptRequest,
};
use lockbox_proto::yandex::cloud::lockbox::v1::{
    AddVersionRequest, CreateSecretRequest, FolderAndName, GetExRequest, GetPayloadRequest,
    ListSecretsRequest, PasswordPayloadSpecification, PayloadEntryChange,
    ScheduleVersionDestructionRequest, UpdateSecretRequest, create_secret_request,
    get_ex_request::Identifier, payload_entry_change::Value,
};
use lockbox_proto::yandex::cloud::operation::{CancelOperationRequest, GetOperationRequest};
use lockbox_proto::{Validate, lockbox};
use prost_types::{Duration, FieldMask, Timestamp};

/// Paths of the fields a request breaks.
fn broken(request: &impl Validate) -> Vec<String> {
    request.validate().into_iter().map(|violation| violation.field).collect()
}

fn text_entry(key: &str, value: &str) -> PayloadEntryChange {
    PayloadEntryChange { key: key.to_owned(), value: Some(Value::TextValue(value.to_owned())) }
}

fn create(change: impl FnOnce(&mut CreateSecretRequest)) -> CreateSecretRequest {
    let mut request = CreateSecretRequest { folder_id: "b1g1".to_owned(), ..Default::default() };
    change(&mut request);
    request
}

#[test]
fn plain_requests_pass() {
    assert!(broken(&create(|_| {})).is_empty());
    let full = create(|request| {
        request.name = "airflow/connections/pg main".to_owned();
        request.labels = BTreeMap::from([("env".to_owned(), String::new())]);
        request.version_payload_entries = vec![text_entry("-_./\\@aZ9", "v")];
    });
    assert!(broken(&full).is_empty());
}

#[test]
fn entry_keys_keep_to_their_alphabet_and_length() {
    let request = |keys: &[&str]| AddVersionRequest {
        secret_id: "e6q1".to_owned(),
        payload_entries: keys.iter().map(|key| text_entry(key, "v")).collect(),
        ..Default::default()
    };
    assert_eq!(broken(&request(&["good", "with space"])), ["payload_entries[1].key"]);
    // A pattern covers the whole string, a line break at its end included.
    assert_eq!(broken(&request(&["key\n"])), ["payload_entries[0].key"]);
    assert_eq!(broken(&request(&["cl\u{e9}"])), ["payload_entries[0].key"]);
    assert_eq!(broken(&request(&[""])), ["payload_entries[0].key"]);
    assert!(broken(&request(&[&"k".repeat(256)])).is_empty());
    assert_eq!(broken(&request(&[&"k".repeat(257)])), ["payload_entries[0].key"]);
}

#[test]
fn entry_values_are_measured_and_never_repeated() {
    let entry = |value| PayloadEntryChange { key: "k".to_owned(), value };
    assert!(broken(&entry(None)).is_empty());
    assert!(broken(&entry(Some(Value::BinaryValue(vec![0; 65_536])))).is_empty());
    assert_eq!(broken(&entry(Some(Value::BinaryValue(vec![0; 65_537])))), ["binary_value"]);
    let secret = "s3cret".repeat(20_000);
    let violations = entry(Some(Value::TextValue(secret))).validate();
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, "text_value");
    assert!(!format!("{violations:?}").contains("s3cret"));
}

#[test]
fn labels_are_limited_in_number_keys_and_values() {
    let labelled = |labels: Vec<(String, &str)>| {
        let labels = labels.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        broken(&create(|request| request.labels = labels))
    };
    let numbered = |count| (0..count).map(|n| (format!("k{n}"), "v")).collect();
    assert!(labelled(numbered(64)).is_empty());
    assert_eq!(labelled(numbered(65)), ["labels"]);
    assert_eq!(labelled(vec![("Upper".to_owned(), "v")]), ["labels[Upper]"]);
    assert_eq!(labelled(vec![("1digit".to_owned(), "v")]), ["labels[1digit]"]);
    assert_eq!(labelled(vec![("k".repeat(64), "v")]), [format!("labels[{}...]", "k".repeat(63))]);
    assert!(labelled(vec![("k".repeat(63), "v")]).is_empty());
    assert_eq!(labelled(vec![("k".to_owned(), "Upper")]), ["labels[k]"]);
    assert_eq!(labelled(vec![(String::new(), "v")]), ["labels[]"]);
}

#[test]
fn lengths_of_strings_count_characters() {
    let named = |name: String| broken(&create(|request| request.name = name));
    assert!(named("\u{44f}".repeat(100)).is_empty());
    assert_eq!(named("\u{44f}".repeat(101)), ["name"]);
}

#[test]
fn exactly_one_way_to_name_a_secret() {
    let request = |identifier| GetExRequest { identifier, ..Default::default() };
    let violations = request(None).validate();
    assert_eq!(violations[0].field, "identifier");
    assert_eq!(violations[0].description, "exactly one of secret_id, folder_and_name is required");
    assert!(broken(&request(Some(Identifier::SecretId("e6q1".to_owned())))).is_empty());
    assert_eq!(broken(&request(Some(Identifier::SecretId(String::new())))), ["secret_id"]);
    let named = FolderAndName { folder_id: "b1g1".to_owned(), secret_name: String::new() };
    assert_eq!(
        broken(&request(Some(Identifier::FolderAndName(named)))),
        ["folder_and_name.secret_name"]
    );
    assert_eq!(broken(&CreateIamTokenRequest { identity: None }), ["identity"]);
    let identity = Some(Identity::Jwt("j".repeat(8_001)));
    assert_eq!(broken(&CreateIamTokenRequest { identity }), ["jwt"]);
}

#[test]
fn page_sizes_run_from_0_to_1000() {
    for (page_size, passes) in [(-1, false), (0, true), (1, true), (1_000, true), (1_001, false)] {
        let secrets =
            ListSecretsRequest { folder_id: "b1g1".to_owned(), page_size, ..Default::default() };
        assert_eq!(broken(&secrets).is_empty(), passes, "{page_size}");
        let bindings = ListAccessBindingsRequest {
            resource_id: "e6q1".to_owned(),
            page_size,
            ..Default::default()
        };
        assert_eq!(broken(&bindings).is_empty(), passes, "{page_size}");
    }
}

#[test]
fn password_recipes_are_checked_inside_their_request() {
    let recipe = |password_key: &str, length| {
        let recipe = PasswordPayloadSpecification {
            password_key: password_key.to_owned(),
            length,
            ..Default::default()
        };
        broken(&create(|request| {
            request.payload_specification = Some(
                create_secret_request::PayloadSpecification::PasswordPayloadSpecification(recipe),
            );
        }))
    };
    assert!(recipe("password", 256).is_empty());
    assert_eq!(recipe("password", 257), ["password_payload_specification.length"]);
    assert_eq!(recipe("password", -1), ["password_payload_specification.length"]);
    assert_eq!(recipe("", 36), ["password_payload_specification.password_key"]);
}

#[test]
fn an_update_needs_a_mask_with_paths() {
    let request = |update_mask| UpdateSecretRequest {
        secret_id: "e6q1".to_owned(),
        update_mask,
        ..Default::default()
    };
    assert_eq!(broken(&request(None)), ["update_mask"]);
    assert_eq!(broken(&request(Some(FieldMask::default()))), ["update_mask"]);
    assert!(broken(&request(Some(FieldMask { paths: vec!["name".to_owned()] }))).is_empty());
}

#[test]
fn enums_must_be_given_and_known() {
    let request = |algorithm| CreateSymmetricKeyRequest {
        folder_id: "b1g1".to_owned(),
        default_algorithm: algorithm,
        ..Default::default()
    };
    assert!(broken(&request(SymmetricAlgorithm::Aes256 as i32)).is_empty());
    assert_eq!(broken(&request(0)), ["default_algorithm"]);
    assert_eq!(broken(&request(77)), ["default_algorithm"]);
    assert_eq!(broken(&request(-1)), ["default_algorithm"]);
}

#[test]
fn required_bytes_and_messages_must_be_there() {
    let encrypt = |plaintext| SymmetricEncryptRequest {
        key_id: "abj1".to_owned(),
        plaintext,
        ..Default::default()
    };
    assert_eq!(broken(&encrypt(Vec::new())), ["plaintext"]);
    assert!(broken(&encrypt(vec![0; 32_768])).is_empty());
    assert_eq!(broken(&encrypt(vec![0; 32_769])), ["plaintext"]);

    let subject = Subject { id: "aje1".to_owned(), r#type: String::new() };
    let delta = |subject| AccessBindingDelta {
        action: AccessBindingAction::Add as i32,
        access_binding: Some(AccessBinding { role_id: "lockbox.viewer".to_owned(), subject }),
    };
    let update = |access_binding_deltas| UpdateAccessBindingsRequest {
        resource_id: "e6q1".to_owned(),
        access_binding_deltas,
    };
    let at = "access_binding_deltas[0].access_binding.subject";
    assert_eq!(broken(&update(vec![delta(None)])), [at]);
    assert_eq!(broken(&update(vec![delta(Some(subject))])), [format!("{at}.type")]);
    assert_eq!(broken(&update(Vec::new())), ["access_binding_deltas"]);
    let good = delta(Some(Subject { id: "aje1".to_owned(), r#type: "system".to_owned() }));
    assert!(broken(&update(vec![good.clone(); 1_000])).is_empty());
    assert_eq!(broken(&update(vec![good; 1_001])), ["access_binding_deltas"]);
}

#[test]
fn times_keep_to_their_ranges() {
    let account = |seconds, nanos| {
        broken(&CreateServiceAccountRequest {
            folder_id: "b1g1".to_owned(),
            name: "robot".to_owned(),
            expires_at: Some(Timestamp { seconds, nanos }),
            ..Default::default()
        })
    };
    // 2105-12-31T23:59:59.999999999Z is the last moment allowed.
    let last = 4_291_747_199;
    assert!(account(0, 0).is_empty());
    assert_eq!(account(-1, 999_999_999), ["expires_at"]);
    assert!(account(last, 999_999_999).is_empty());
    assert_eq!(account(last + 1, 0), ["expires_at"]);
    assert_eq!(account(0, 1_000_000_000), ["expires_at"]);

    let schedule = |seconds, nanos| {
        broken(&ScheduleVersionDestructionRequest {
            secret_id: "e6q1".to_owned(),
            version_id: "e6q2".to_owned(),
            pending_period: Some(Duration { seconds, nanos }),
        })
    };
    assert!(schedule(604_800, 0).is_empty());
    assert_eq!(schedule(1, -1), ["pending_period"]);
    assert_eq!(schedule(i64::MAX, 0), ["pending_period"]);
}

#[test]
fn names_of_service_accounts_match_their_pattern() {
    let named = |name: &str| {
        broken(&CreateServiceAccountRequest {
            folder_id: "b1g1".to_owned(),
            name: name.to_owned(),
            ..Default::default()
        })
    };
    assert!(named("a").is_empty() && named(&"a".repeat(63)).is_empty());
    for name in ["", "Robot", "-a", "a-", &"a".repeat(64)] {
        assert_eq!(named(name), ["name"], "{name}");
    }
}

#[test]
fn violations_are_bounded() {
    let flood = create(|request| {
        request.version_payload_entries = vec![PayloadEntryChange::default(); 100_000];
        request.labels = (0..1_000).map(|n| (format!("K{n}"), "V".to_owned())).collect();
    });
    assert_eq!(flood.validate().len(), VIOLATIONS_MAX);
}

#[test]
fn every_broken_field_is_named_in_order() {
    let request = GetPayloadRequest { secret_id: String::new(), version_id: "v".repeat(51) };
    let violations = request.validate();
    assert_eq!(violations[0].description, "value is required");
    assert_eq!(violations[1].description, "value must have at most 50 characters");
    assert_eq!(broken(&request), ["secret_id", "version_id"]);
}

#[test]
fn every_message_can_be_validated() {
    fn accepts<M: Validate + prost::Message + Default>() -> usize {
        M::default().validate().len()
    }
    assert_eq!(accepts::<GetOperationRequest>(), 1);
    assert_eq!(accepts::<CancelOperationRequest>(), 1);
    assert_eq!(accepts::<RevokeIamTokenRequest>(), 1);
    // Messages without constraints, of our own packages too.
    assert_eq!(accepts::<lockbox::cluster::v1::IntrospectRequest>(), 0);
    assert_eq!(accepts::<lockbox::peer::v1::AppendRequest>(), 0);
    assert_eq!(accepts::<lockbox_proto::google::rpc::Status>(), 0);
}
