//! The configuration file: defaults, overrides, mistakes.

use super::*;
use crate::passphrase::PASSPHRASE_VARIABLE;
use crate::root_key::ROOT_KEY_VARIABLE;
use crate::root_secret::RootSecret;

const FILE: &str = r#"
    data_dir = "/data"
    [api]
    listen = "127.0.0.1:8460"
    certificate = "kms.pem"
    key = "kms-key.pem"
    client_ca = "ca.pem"
    [cluster]
    nodes = [{ address = "localhost:8461", server_name = "node-1.lockbox.internal" }]
"#;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<KmsConfig, String> {
    let environment: Vec<_> =
        environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kms.toml");
    std::fs::write(&path, text).unwrap();
    KmsConfig::load(&path, &environment).map_err(|e| e.to_string())
}

#[test]
fn a_small_file_has_the_documented_defaults() {
    let config = load(FILE, &[]).unwrap();
    assert_eq!(config.quotas(), Quotas { keys_per_cloud: 100, versions_per_key: 100 });
    assert_eq!(config.limits.rotation_period_min_s, 86_400);
    assert_eq!(config.limits.pending_period_min_s, 86_400);
    assert_eq!(config.limits.deleted_key_retention_s, 259_200);
    assert_eq!(config.operators.names[0], "operator.lockbox.internal");
    assert_eq!(config.audit_path(), Path::new("/data/audit.jsonl"));
    let audit = config.audit_writer();
    assert_eq!((audit.file_bytes_max, audit.finished_files_max), (64 << 20, None));
    assert!(config.node_names()[0].matches("node-7.lockbox.internal"));
}

#[test]
fn backups_are_made_where_there_is_a_place_for_them() {
    assert_eq!(load(FILE, &[]).unwrap().scheduled_backups(), None);
    let config = load(&format!("{FILE}\n[backup]\ndirectory = \"/backups\"\n"), &[]).unwrap();
    let settings = config.scheduled_backups().unwrap();
    assert_eq!((settings.interval, settings.keep), (Duration::from_secs(3600), 48));
    for wrong in ["keep = 0", "interval_s = 9", "directroy = \"/backups\""] {
        assert!(load(&format!("{FILE}\n[backup]\n{wrong}\n"), &[]).is_err(), "{wrong}");
    }
}

#[test]
fn the_environment_overrides_nested_keys() {
    let config = load(FILE, &[("KMS_CONFIG_LIMITS__KEYS_PER_CLOUD", "7")]).unwrap();
    assert_eq!(config.limits.keys_per_cloud, 7);
    let listen = [("KMS_CONFIG_API__LISTEN", "127.0.0.1:1")];
    assert_eq!(load(FILE, &listen).unwrap().api.listen.port(), 1);
}

#[test]
fn mistakes_are_named() {
    let wrong = |from: &str, to: &str| load(&FILE.replace(from, to), &[]).unwrap_err();
    assert!(wrong("data_dir", "data_dirr").contains("data_dir"));
    assert!(wrong("listen", "listn").contains("listn"));
    assert!(wrong("localhost:8461", "localhost").contains("cluster.nodes holds an address"));
    let long = format!("{FILE}\n[limits]\npending_period_min_s = 604801");
    assert!(load(&long, &[]).unwrap_err().contains("limits.pending_period_min_s"));
    let small = format!("{FILE}\n[limits]\nrequest_bytes_in_memory = 17825791");
    assert!(load(&small, &[]).unwrap_err().contains("request_bytes_in_memory must be at"));
    for (key, value) in [("file_bytes_max", 4095), ("finished_files_max", 0)] {
        let error = load(&format!("{FILE}\n[audit]\n{key} = {value}"), &[]).unwrap_err();
        assert!(error.contains(&format!("audit.{key} must be")), "{error}");
    }
    let everyone = format!("{FILE}\n[nodes]\nnames = [\"*\"]");
    assert!(load(&everyone, &[]).unwrap_err().contains("nodes.names"));
}

#[test]
fn without_a_root_key_the_remedy_is_named() {
    let config = load(FILE, &[]).unwrap();
    let load_secret = |environment: &[(String, String)]| {
        config.load_root_secret(RootVariables::take_from(&mut environment.to_vec()))
    };
    let refused = |environment: &[(String, String)]| match load_secret(environment) {
        Ok(_) => panic!("there is no root key"),
        Err(error) => error.to_string(),
    };
    let error = refused(&[]);
    assert!(error.contains("root_key.file") && error.contains(PASSPHRASE_VARIABLE), "{error}");
    let key = (ROOT_KEY_VARIABLE.to_owned(), "A".repeat(43) + "=");
    let found = load_secret(std::slice::from_ref(&key));
    assert!(matches!(found, Ok(RootSecret::Key(_))));
    let words = (PASSPHRASE_VARIABLE.to_owned(), "correct horse battery".to_owned());
    let found = load_secret(std::slice::from_ref(&words));
    assert!(matches!(found, Ok(RootSecret::Passphrase(_))));
    let short = (PASSPHRASE_VARIABLE.to_owned(), "hunter2".to_owned());
    let error = refused(&[short]);
    assert!(error.contains("16 to 1024 bytes") && !error.contains("hunter2"), "{error}");
    assert!(refused(&[key, words]).contains("set one of"));
    let both = format!("{FILE}\n[root_key]\nfile = \"a\"\npassphrase_file = \"b\"");
    assert!(load(&both, &[]).unwrap_err().contains("not both"));
}

/// Our copy of the environment lives as long as the server does: it must not have the root key.
#[test]
fn the_root_key_is_taken_out_of_the_environment() {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let words = "correct horse battery";
    let mut environment = vec![
        variable("HOME", "/root"),
        variable(PASSPHRASE_VARIABLE, words),
        variable(ROOT_KEY_VARIABLE, "key"),
        variable("KMS_CONFIG_LIMITS__KEYS_PER_CLOUD", "7"),
    ];
    let before = environment[1].1.as_ptr();
    let taken = RootVariables::take_from(&mut environment);
    let mut names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "KMS_CONFIG_LIMITS__KEYS_PER_CLOUD"]);
    let passphrase = taken.passphrase.expect("it was there");
    assert_eq!(passphrase.expose(), words);
    // Moved, not copied: what is wiped is all that there was.
    assert_eq!(passphrase.expose().as_ptr(), before);
    assert!(RootVariables::take_from(&mut environment).key.is_none());
}

/// What a server inherits it may hand on: it starts no process, so nobody inherits the root key.
#[test]
fn no_process_is_started_that_would_inherit_the_root_key() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let starter = ["process", "Command"].join("::");
            assert!(!text.contains(&starter), "{}", path.display());
            files += 1;
        }
    }
    assert!(files > 50, "{files}");
}
