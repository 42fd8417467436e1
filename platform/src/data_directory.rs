//! Whose data a directory holds, as far as it shows at a glance.
//!
//! Each server finds out by itself whether a directory is its own. This is for the one mistake that
//! neither would notice: a node that is pointed at the data of the KMS, or the KMS at a node's,
//! makes a second store beside the first one, and two servers write into one directory. Promises
//! that nothing is made or changed.

use std::path::{Path, PathBuf};

/// A server that keeps data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A node of a cluster.
    Node,
    /// The KMS.
    Kms,
}

impl Holder {
    /// What lies in its data directory from the moment at which it has any.
    const fn mark(self) -> &'static str {
        match self {
            Self::Node => "IDENTITY",
            Self::Kms => "db/CURRENT",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Node => "a node",
            Self::Kms => "the KMS",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Node => Self::Kms,
            Self::Kms => Self::Node,
        }
    }
}

/// A directory that another kind of server keeps its data in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} holds the data of {}, and this is {}: check data_dir", directory.display(),
    holder.other().name(), holder.name()
)]
pub struct ForeignData {
    /// The directory.
    pub directory: PathBuf,
    /// Who was to use it.
    pub holder: Holder,
}

/// Demands that a directory is not that of the other server. One that cannot be looked at passes:
/// whoever opens it says what is wrong with it.
///
/// # Errors
/// [`ForeignData`].
pub fn demand_own(directory: &Path, holder: Holder) -> Result<(), ForeignData> {
    let is_of = |holder: Holder| directory.join(holder.mark()).exists();
    if is_of(holder.other()) && !is_of(holder) {
        return Err(ForeignData { directory: directory.to_owned(), holder });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_others_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for holder in [Holder::Node, Holder::Kms] {
            assert_eq!(demand_own(&path.join("absent"), holder), Ok(()));
            assert_eq!(demand_own(path, holder), Ok(()));
        }
        std::fs::create_dir(path.join("db")).unwrap();
        std::fs::write(path.join("db/CURRENT"), "MANIFEST-000001\n").unwrap();
        assert_eq!(demand_own(path, Holder::Kms), Ok(()));
        let refused = demand_own(path, Holder::Node).unwrap_err().to_string();
        let end = "holds the data of the KMS, and this is a node: check data_dir";
        assert!(refused.ends_with(end), "{refused}");
    }
}
