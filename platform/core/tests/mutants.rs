//! The feature `mutants` cannot get into a release.

#[cfg(test)]
#[path = "../build/profile.rs"]
mod profile;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::profile::refusal;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    #[test]
    fn only_dev_and_its_own_profile_may_have_it() {
        let refused = |path: &str| refusal(Path::new(path));
        assert_eq!(refused("/t/debug/build/lockbox-core-0a/out"), None);
        assert_eq!(refused("/t/mutants/build/lockbox-core-0a/out"), None);
        assert_eq!(refused("/t/x86_64-unknown-linux-gnu/mutants/build/lockbox-core-0a/out"), None);
        for path in [
            "/t/release/build/lockbox-core-0a/out",
            "/mutants/release/build/lockbox-core-0a/out",
            "/build/debug/bench/build/lockbox-core-0a/out",
            "/t/debug/somewhere/else",
        ] {
            assert!(refused(path).is_some_and(|text| text.contains("--profile mutants")), "{path}");
        }
        assert!(refused("/t/release/build/p/out").is_some_and(|text| text.contains("`release`")));
    }

    #[test]
    fn a_release_build_is_refused() {
        let target = tempfile::tempdir().unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--offline", "-p", "lockbox-core", "-F", "mutants"])
            .current_dir(ROOT)
            .env("CARGO_TARGET_DIR", target.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&built.stderr);
        assert!(!built.status.success(), "{text}");
        assert!(text.contains("the feature `mutants` seeds bugs"), "{text}");
    }

    /// The check is in this crate alone.
    #[test]
    fn the_feature_of_every_crate_turns_on_the_one_that_is_checked() {
        let mut with_feature = 0;
        for crate_directory in ["platform", "raft", "kms-sim", "node"] {
            let manifest = Path::new(ROOT).join(crate_directory).join("Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            let features = manifest.lines().filter(|line| line.starts_with("mutants = ["));
            for feature in features {
                assert!(feature.contains("\"lockbox-core/mutants\""), "{crate_directory}");
                with_feature += 1;
            }
        }
        assert_eq!(with_feature, 4);
    }
}
