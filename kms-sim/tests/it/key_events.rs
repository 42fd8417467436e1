//! What happens to keys by itself, and what the audit says of changes.

use std::time::Duration;

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::schedule::Scheduler;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::tables::Table;
use lockbox_proto::yandex::cloud::kms::v1::{
    GetSymmetricKeyRequest, ListSymmetricKeyVersionsRequest, RotateSymmetricKeyMetadata,
    SymmetricDecryptRequest, SymmetricEncryptRequest, UpdateSymmetricKeyRequest,
    symmetric_key_version,
};
use tonic::Code;

use crate::requests::{
    binding, by, code, create, metadata, rotate, seconds, to_add, to_cancel, to_delete,
    to_schedule, to_set_bindings, to_set_primary, until,
};
use crate::rotation::set_period;
use crate::server_support::{ROOT, ServerFixture};
use crate::support::{TestClock, admin, open_with, pass};

/// With short periods the server itself comes to the end of what it promised.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_destroys_and_rotates_by_itself() {
    let server = ServerFixture::start(|config| {
        config.limits.pending_period_min_s = 0;
        config.limits.rotation_period_min_s = 1;
        config.limits.deleted_key_retention_s = 1;
    })
    .await;
    let mut keys = server.keys(None).await;
    let mut crypto = server.crypto(None).await;
    let key = create(&mut keys).await;
    let first = key.primary_version.unwrap().id;
    let encrypt = SymmetricEncryptRequest {
        key_id: key.id.clone(),
        plaintext: b"value".to_vec(),
        ..SymmetricEncryptRequest::default()
    };
    let sealed = crypto.encrypt(by(encrypt)).await.unwrap().into_inner().ciphertext;
    rotate(&mut keys, &key.id).await;
    let schedule = to_schedule(&key.id, &first, seconds(1));
    keys.schedule_version_destruction(by(schedule)).await.unwrap();
    let destroyed = until("the end of the version", async || {
        let key_id = key.id.clone();
        let list = ListSymmetricKeyVersionsRequest { key_id, ..Default::default() };
        let listed = keys.clone().list_versions(by(list)).await.unwrap().into_inner();
        let version = listed.key_versions.into_iter().find(|version| version.id == first)?;
        (version.status() == symmetric_key_version::Status::Destroyed).then_some(version)
    })
    .await;
    assert_eq!(destroyed.destroy_at, None);
    let decrypt = SymmetricDecryptRequest {
        key_id: key.id.clone(),
        ciphertext: sealed,
        ..SymmetricDecryptRequest::default()
    };
    assert_eq!(code(&crypto.decrypt(by(decrypt)).await), Code::FailedPrecondition);

    let get = || by(GetSymmetricKeyRequest { key_id: key.id.clone() });
    let before = keys.get(get()).await.unwrap().into_inner().primary_version.unwrap().id;
    let period = UpdateSymmetricKeyRequest {
        key_id: key.id.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["rotation_period".to_owned()] }),
        rotation_period: seconds(1),
        ..UpdateSymmetricKeyRequest::default()
    };
    keys.update(by(period)).await.unwrap();
    until("a rotation", async || {
        let found = keys.clone().get(get()).await.unwrap().into_inner();
        (found.primary_version?.id != before).then_some(())
    })
    .await;
    keys.delete(by(to_delete(&key.id))).await.unwrap();
    assert_eq!(code(&keys.get(get()).await), Code::NotFound);
    // Nobody waits for that record, so it may come a moment later.
    let by_itself = |line: &&str| {
        line.contains("audit.kms.RotateSymmetricKey\"") && line.contains("\"cloud.yandex\"")
    };
    let rotation = until("the record of the rotation", async || {
        let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
        // The last line may be half written.
        serde_json::from_str::<serde_json::Value>(audit.lines().find(by_itself)?).ok()
    })
    .await;
    assert_eq!(rotation["authentication"]["subject_type"], "SYSTEM");
    assert_eq!(rotation["details"]["key_id"], key.id.as_str());
    assert_eq!(rotation["event_status"], "DONE");
    server.stop().await;
}

/// The KMS ended, or its audit was away, between a rotation and its record.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_not_on_record_is_recorded_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 10, versions_per_key: 10 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let period = Duration::from_hours(24);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    set_period(&kms, &key, Some(period)).await;
    clock.advance(period);
    let rotated = pass(&kms, &mut Scheduler::default()).await.rotated;
    let operation = rotated[0].id.to_string();
    // By hand it has no more to do.
    set_period(&kms, &key, None).await;
    kms.stop().await;

    let data_dir = directory.path().to_owned();
    let server = ServerFixture::start(|config| config.data_dir = data_dir).await;
    let owed = || {
        let db = Db::open_read_only(&db_directory(directory.path())).unwrap();
        db.view().scan(Table::AuditOwed, b"", b"").count()
    };
    until("the record", async || (owed() == 0).then_some(())).await;
    server.stop().await;
    let audit = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    let records = audit.lines().map(|line| serde_json::from_str(line).unwrap());
    let records: Vec<serde_json::Value> = records
        .filter(|record: &serde_json::Value| record["event_id"] == operation.as_str())
        .collect();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record["event_type"], "yandex.cloud.audit.kms.RotateSymmetricKey");
    assert_eq!(record["details"]["key_id"], key.as_str());
    assert_eq!(record["authentication"]["subject_type"], "SYSTEM");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_audited_with_what_it_was_about() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let key = create(&mut keys).await;
    let (id, first) = (key.id.as_str(), key.primary_version.clone().unwrap().id);
    let second = metadata::<RotateSymmetricKeyMetadata>(&rotate(&mut keys, id).await);
    let second = second.new_primary_version_id;
    keys.set_primary_version(by(to_set_primary(id, &first))).await.unwrap();
    let refused = keys.schedule_version_destruction(by(to_schedule(id, &first, None))).await;
    assert_eq!(code(&refused), Code::FailedPrecondition);
    keys.schedule_version_destruction(by(to_schedule(id, &second, None))).await.unwrap();
    keys.cancel_version_destruction(by(to_cancel(id, &second))).await.unwrap();
    keys.update_access_bindings(by(to_add(id, "kms.viewer", "b"))).await.unwrap();
    let set = to_set_bindings(id, vec![binding("kms.editor", "c")]);
    keys.set_access_bindings(by(set)).await.unwrap();
    // What is refused leaves no more than the key's id, whatever it was called and asked for.
    let refused =
        keys.set_access_bindings(by(to_set_bindings(id, vec![binding("canary-role", "d")])));
    assert_eq!(code(&refused.await), Code::InvalidArgument);
    let refused = keys.delete(by(to_delete("a canary, not an id"))).await;
    assert_eq!(code(&refused), Code::InvalidArgument);
    keys.delete(by(to_delete(id))).await.unwrap();
    let refused = keys.delete(by(to_delete(id))).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.metadata().get("kms-index").is_some());

    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    assert!(!audit.contains("canary"), "{audit}");
    let of = |event: &str| -> Vec<serde_json::Value> {
        let records = audit.lines().map(|line| serde_json::from_str(line).unwrap());
        let event = format!("yandex.cloud.audit.kms.{event}");
        records.filter(|record: &serde_json::Value| record["event_type"] == event).collect()
    };
    let primary = &of("SetPrimarySymmetricKeyVersion")[0]["details"];
    assert_eq!(primary["primary_version_id"], first.as_str());
    assert_eq!(primary["old_primary_version_id"], second.as_str());
    let scheduled = of("ScheduleSymmetricKeyVersionDestruction");
    assert_eq!(scheduled.len(), 2);
    assert_eq!(scheduled[0]["error"]["code"], 9);
    assert_eq!(scheduled[0]["details"]["version_id"], first.as_str());
    assert_eq!(scheduled[0]["details"]["key_name"], "one");
    assert_eq!(scheduled[1]["details"]["version_status"], "SCHEDULED_FOR_DESTRUCTION");
    assert!(scheduled[1]["details"]["destroy_at"].is_string());
    let cancelled = &of("CancelSymmetricKeyVersionDestruction")[0]["details"];
    assert_eq!(cancelled["version_status"], "ACTIVE");
    assert!(cancelled["destroy_at"].is_null());
    let updated = &of("UpdateSymmetricKeyAccessBindings")[0]["details"];
    assert_eq!(updated["key_id"], id);
    assert_eq!(updated["access_binding_deltas"][0]["action"], "ADD");
    let set = &of("SetSymmetricKeyAccessBindings")[0]["details"];
    assert_eq!(set["access_bindings"][0]["role_id"], "kms.editor");
    let deleted = of("DeleteSymmetricKey");
    assert_eq!(deleted[1]["details"]["primary_version_status"], "SCHEDULED_FOR_DESTRUCTION");
    assert!(deleted[1]["details"]["primary_version_destroy_at"].is_string());
    assert_eq!(deleted[2]["error"]["code"], 5);
    server.stop().await;
}
