//! What the tables are called, for people who compare states.

use super::erasures::{RING, SYSTEM_ERASURES};
use super::{
    AUDIT_HEADS, AUTHORIZED_KEY, AUTHORIZED_KEY_OF_ACCOUNT, BINDINGS, CHANGE_IN_FOLDER, CLOUD,
    CLOUD_BY_NAME, CLUSTER, DELETED_SECRET, DELETED_SERVICE_ACCOUNT, DESTRUCTION, EXPIRY,
    FIRST_RESOURCES, FOLDER, FOLDER_BY_NAME, HOLDING, IDEMPOTENCY, IDEMPOTENCY_COUNT, KEYRING,
    KMS_TOMBSTONE, KMS_WITNESS, MEMBER, OPERATION, OPERATION_OF_RESOURCE, PAYLOAD, REPORTS_COUNTED,
    REVOKED_TOKEN, SECRET, SECRET_BY_NAME, SECRET_IN_FOLDER, SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_BY_NAME, SERVICE_ACCOUNT_IN_FOLDER, SYSTEM_CHANGES_BEGIN, SYSTEM_EXPIRY_BEGIN,
    SYSTEM_EXPIRY_NEXT, SYSTEM_FEATURE_LEVEL, SYSTEM_LAST_APPLIED, SYSTEM_LOG_TIME,
    SYSTEM_MEMBERSHIP, SYSTEM_RETENTION, SYSTEM_STATE_CHECK, USAGE_METER, USAGE_OF_HOUR, VERSION,
    VERSION_IN_SECRET,
};
use crate::state::Space;

/// The name of the table that a key is in, for people who compare states.
#[must_use]
pub fn table_name(space: Space, key: &[u8]) -> &'static str {
    if space == Space::System {
        return match key {
            SYSTEM_LAST_APPLIED => "last_applied",
            SYSTEM_MEMBERSHIP => "membership",
            SYSTEM_LOG_TIME => "log_time",
            SYSTEM_EXPIRY_BEGIN => "expiry_begin",
            SYSTEM_EXPIRY_NEXT => "expiry_next",
            SYSTEM_CHANGES_BEGIN => "changes_begin",
            SYSTEM_FEATURE_LEVEL => "feature_level",
            SYSTEM_RETENTION => "retention",
            SYSTEM_STATE_CHECK => "state_check",
            SYSTEM_ERASURES => "erasures",
            _ if key.starts_with(RING) => "erasure_ring",
            _ => "other",
        };
    }
    match key.first() {
        Some(&CLOUD) => "clouds",
        Some(&CLOUD_BY_NAME) => "clouds_by_name",
        Some(&FOLDER) => "folders",
        Some(&FOLDER_BY_NAME) => "folders_by_name",
        Some(&SECRET) => "secrets",
        Some(&DELETED_SECRET) => "deleted_secrets",
        Some(&SECRET_IN_FOLDER) => "secrets_in_folders",
        Some(&SECRET_BY_NAME) => "secrets_by_name",
        Some(&VERSION) => "versions",
        Some(&VERSION_IN_SECRET) => "versions_in_secrets",
        Some(&PAYLOAD) => "payloads",
        Some(&BINDINGS) => "bindings",
        Some(&HOLDING) => "holdings",
        Some(&SERVICE_ACCOUNT) => "service_accounts",
        Some(&SERVICE_ACCOUNT_IN_FOLDER) => "service_accounts_in_folders",
        Some(&SERVICE_ACCOUNT_BY_NAME) => "service_accounts_by_name",
        Some(&AUTHORIZED_KEY) => "authorized_keys",
        Some(&AUTHORIZED_KEY_OF_ACCOUNT) => "authorized_keys_of_accounts",
        Some(&KEYRING) => "keyring",
        Some(&OPERATION) => "operations",
        Some(&OPERATION_OF_RESOURCE) => "operations_of_resources",
        Some(&CHANGE_IN_FOLDER) => "changes_in_folders",
        Some(&IDEMPOTENCY) => "idempotency",
        Some(&IDEMPOTENCY_COUNT) => "idempotency_counts",
        Some(&REVOKED_TOKEN) => "revoked_tokens",
        Some(&EXPIRY) => "expiries",
        Some(&MEMBER) => "members",
        Some(&AUDIT_HEADS) => "audit_heads",
        Some(&USAGE_METER) => "usage_meters",
        Some(&USAGE_OF_HOUR) => "usage_of_hours",
        Some(&REPORTS_COUNTED) => "reports_counted",
        Some(&DELETED_SERVICE_ACCOUNT) => "deleted_service_accounts",
        Some(&DESTRUCTION) => "destructions",
        Some(&KMS_TOMBSTONE) => "kms_tombstones",
        _ if key == CLUSTER => "cluster",
        _ if key == FIRST_RESOURCES => "first_resources",
        _ if key == KMS_WITNESS => "kms_witness",
        _ => "other",
    }
}
