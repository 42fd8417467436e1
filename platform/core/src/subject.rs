//! Who may hold a role: the subjects of access bindings (`contract §4.6`).

use std::fmt;

use minicbor::{Decode, Encode};

/// The kinds of subject that a binding can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum SubjectKind {
    /// A user of the cloud's passport service.
    #[n(0)]
    UserAccount,
    /// A user of an identity federation.
    #[n(1)]
    FederatedUser,
    /// A service account.
    #[n(2)]
    ServiceAccount,
    /// A group of subjects.
    #[n(3)]
    Group,
    /// A set that the system defines, such as all who are authenticated.
    #[n(4)]
    System,
}

impl SubjectKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 5] =
        [Self::UserAccount, Self::FederatedUser, Self::ServiceAccount, Self::Group, Self::System];

    /// The name on the wire, `subject.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAccount => "userAccount",
            Self::FederatedUser => "federatedUser",
            Self::ServiceAccount => "serviceAccount",
            Self::Group => "group",
            Self::System => "system",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The name in audit records (`contract §6.2`).
    #[must_use]
    pub const fn audit_name(self) -> &'static str {
        match self {
            Self::UserAccount => "YANDEX_PASSPORT_USER_ACCOUNT",
            Self::FederatedUser => "FEDERATED_USER_ACCOUNT",
            Self::ServiceAccount => "SERVICE_ACCOUNT",
            Self::Group => "GROUP",
            Self::System => "SYSTEM",
        }
    }
}

/// One holder of roles: a kind and an id within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Subject {
    /// What the id names.
    #[n(0)]
    pub kind: SubjectKind,
    /// The id; for [`SubjectKind::System`] one of the texts of [`SystemSubject`].
    #[n(1)]
    pub id: String,
}

/// Who had a token made for another account, and by which token of its own: the new one dies with
/// that one, and with its maker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenMaker {
    /// The maker.
    #[n(0)]
    pub subject: Subject,
    /// The maker's token.
    #[n(1)]
    pub token_id: crate::TokenId,
}

impl Subject {
    /// The service account with this id.
    #[must_use]
    pub fn service_account(id: &crate::ServiceAccountId) -> Self {
        Self { kind: SubjectKind::ServiceAccount, id: id.as_str().to_owned() }
    }

    /// The system itself, for what no caller asked for (the reaper, initialisation).
    #[must_use]
    pub fn internal() -> Self {
        Self { kind: SubjectKind::System, id: "internal".to_owned() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// The system sets that have a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemSubject<'a> {
    /// Anybody with a valid token, of any organization.
    AllAuthenticatedUsers,
    /// For Lockbox and KMS the same: a call without a token is refused before roles matter.
    AllUsers,
    /// Everybody of the organization with this id. An installation has one organization, and only
    /// that one can be bound: so it is everybody with a valid token again.
    OrganizationUsers(&'a str),
}

impl<'a> SystemSubject<'a> {
    /// Reads `subject.id` of a binding of kind `system`.
    #[must_use]
    pub fn parse(id: &'a str) -> Option<Self> {
        match id {
            "allAuthenticatedUsers" => Some(Self::AllAuthenticatedUsers),
            "allUsers" => Some(Self::AllUsers),
            _ => {
                let organization =
                    id.strip_prefix("group:organization:")?.strip_suffix(":users")?;
                let is_id = crate::OrganizationId::parse(organization).is_ok();
                is_id.then_some(Self::OrganizationUsers(organization))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_round_trip() {
        for kind in SubjectKind::ALL {
            assert_eq!(SubjectKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(SubjectKind::parse("serviceaccount"), None);
    }

    #[test]
    fn system_sets_are_all_users_or_those_of_one_organization() {
        let users = SystemSubject::parse("group:organization:bpf1:users");
        assert_eq!(users, Some(SystemSubject::OrganizationUsers("bpf1")));
        for wrong in [
            "",
            "internal",
            "allusers",
            "group:organization::users",
            "group:organization:a/b:users",
            "group:federation:bpf1:users",
        ] {
            assert_eq!(SystemSubject::parse(wrong), None, "{wrong}");
        }
    }
}
