//! What a call asks the KMS and is billed for: noted before the request leaves, for the audit record.
//!
//! A record that names a request without an answer says that it may have been billed: the node
//! waited no longer, or the KMS ended in between. Where the KMS knows no callers, whether one may
//! use a key is decided here.

use lockbox_core::{KmsKeyId, Permission, ResourceKind, ResourceRef, Role};
use lockbox_platform::audit::record::KmsRequest;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, Grant};

use super::Call;

/// A billed operation of the KMS that nodes ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsOperation {
    /// Makes the data key of a new version.
    GenerateDataKey,
    /// Opens the data key of a version.
    Decrypt,
}

impl KmsOperation {
    const fn name(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "GenerateDataKey",
            Self::Decrypt => "Decrypt",
        }
    }

    const fn permission(self) -> Permission {
        match self {
            Self::GenerateDataKey => Permission::KmsKeysEncrypt,
            Self::Decrypt => Permission::KmsKeysDecrypt,
        }
    }
}

impl Call<'_> {
    /// Notes a request that is about to leave, under the id that its assertion carries. A repeat
    /// of an earlier one of this call is the same request.
    ///
    /// # Errors
    /// As [`Self::demand_key_right`]; nothing leaves then.
    pub fn asks_kms(
        &mut self,
        operation: KmsOperation,
        key: &KmsKeyId,
        assertion: &CallerAssertion,
    ) -> Result<(), ApiError> {
        self.demand_key_right(&[operation.permission()], assertion)?;
        let kms_request_id = hex::encode(&assertion.kms_request_id);
        let is_it = |known: &KmsRequest| known.kms_request_id == kms_request_id;
        let request = match self.kms_requests.iter().position(is_it) {
            Some(place) => self.kms_requests.remove(place),
            None => KmsRequest {
                kms_request_id,
                key_id: key.to_string(),
                operation: operation.name(),
                answered: false,
            },
        };
        self.kms_requests.push(request);
        Ok(())
    }

    /// Demands one of these rights on keys, where the KMS does not judge them itself (`design §7`).
    /// Where such a key is nobody knows here, so what counts are the roles on the containers of the
    /// secret: on its folder, its cloud, its organization.
    ///
    /// # Errors
    /// PERMISSION_DENIED, decided in the view that the assertion was made in.
    pub fn demand_key_right(
        &self,
        one_of: &[Permission],
        assertion: &CallerAssertion,
    ) -> Result<(), ApiError> {
        if self.app.kms.knows_callers() {
            return Ok(());
        }
        let path = self.path.as_ref().map_or(&[][..], |path| path.resources());
        if holds(&assertion.grants, path, one_of) {
            return Ok(());
        }
        let outcome = self.observed.map_or(Outcome::NotProposed, Outcome::from);
        let message = "permission denied on the KMS key";
        Err(ApiError::new(ErrorKind::PermissionDenied, message, outcome))
    }

    /// Notes that the KMS has done what it was asked last, if it was asked.
    pub fn kms_has_answered(&mut self) {
        if let Some(request) = self.kms_requests.last_mut() {
            request.answered = true;
        }
    }
}

/// Whether one of the roles is on a container of this path, and gives one of these rights.
fn holds(grants: &[Grant], path: &[ResourceRef], one_of: &[Permission]) -> bool {
    let is_container = |on: &&ResourceRef| match on.kind {
        ResourceKind::Organization | ResourceKind::Cloud | ResourceKind::Folder => true,
        ResourceKind::Secret
        | ResourceKind::SecretVersion
        | ResourceKind::KmsKey
        | ResourceKind::ServiceAccount => false,
    };
    let is_on = |grant: &Grant| {
        let it = |on: &ResourceRef| {
            on.kind.audit_name() == grant.resource_type && on.id == grant.resource_id
        };
        path.iter().filter(is_container).any(it)
    };
    let gives = |grant: &Grant| {
        let role = Role::parse(&grant.role_id);
        role.is_some_and(|role| one_of.iter().any(|permission| role.grants(*permission)))
    };
    grants.iter().any(|grant| is_on(grant) && gives(grant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_on_another_makers_key_comes_from_above_the_secret() {
        let path = [
            ResourceRef::new(ResourceKind::Organization, "o"),
            ResourceRef::new(ResourceKind::Cloud, "c"),
            ResourceRef::new(ResourceKind::Folder, "f"),
            ResourceRef::new(ResourceKind::Secret, "s"),
        ];
        let may = |kind: ResourceKind, id: &str, role: &str, permission: Permission| {
            let resource_type = kind.audit_name().to_owned();
            let grant =
                Grant { resource_type, resource_id: id.to_owned(), role_id: role.to_owned() };
            holds(&[grant], &path, &[permission])
        };
        let (encrypt, decrypt) = (Permission::KmsKeysEncrypt, Permission::KmsKeysDecrypt);
        for (kind, id) in [
            (ResourceKind::Organization, "o"),
            (ResourceKind::Cloud, "c"),
            (ResourceKind::Folder, "f"),
        ] {
            assert!(may(kind, id, "kms.keys.decrypter", decrypt), "{id}");
            assert!(!may(kind, id, "kms.keys.decrypter", encrypt), "{id}");
            assert!(!may(kind, id, "lockbox.payloadViewer", decrypt), "{id}");
        }
        assert!(!may(ResourceKind::Folder, "c", "kms.admin", decrypt), "of another kind");
        assert!(!may(ResourceKind::Folder, "g", "kms.admin", decrypt), "another folder");
        // A role on a secret has no effect on a key (`contract §4.5`).
        assert!(!may(ResourceKind::Secret, "s", "kms.admin", decrypt));
        assert!(!holds(&[], &path, &[decrypt]));
    }
}
