//! Which of cargo's profiles a build script runs for, and whether it may have the mutants.

use std::ffi::OsStr;
use std::path::Path;

/// What may have them: tests, and the profile that is made for them.
const ALLOWED: [&str; 2] = ["debug", "mutants"];

/// Why the profile whose build script has this output directory is refused.
///
/// Cargo tells build scripts only whether a profile comes from `dev` or from `release`; its name
/// is in the path: `…/<profile>/build/<package>-<hash>/out`.
pub(crate) fn refusal(out_dir: &Path) -> Option<String> {
    let profile = out_dir
        .ancestors()
        .find(|place| place.file_name() == Some(OsStr::new("build")))
        .and_then(|build| build.parent()?.file_name()?.to_str());
    match profile {
        Some(profile) if ALLOWED.contains(&profile) => None,
        profile => Some(format!(
            "the feature `mutants` seeds bugs and is refused in the profile `{}`: build with \
             --profile mutants (or in dev, for tests)",
            profile.unwrap_or("?")
        )),
    }
}
