//! Which of several sources says who calls, and what is said when none does.

use std::path::PathBuf;

use super::*;

fn flags() -> ConnectionFlags {
    ConnectionFlags {
        reach: ReachFlags { profile: None, endpoint: None, ca: None },
        token_file: None,
        sa_key: None,
        impersonate_service_account_id: None,
        folder_id: None,
        folder_name: None,
        cloud_id: None,
        call: CallFlags {
            tries: TryFlags { timeout: Duration::from_secs(1), retry: 0 },
            format: None,
        },
    }
}

fn resolved(flags: &ConnectionFlags, environment: &Environment) -> Result<Connection, Failure> {
    flags.resolve(&flags.reach.settings(environment)?)
}

fn credential(flags: &ConnectionFlags, environment: &Environment) -> Result<Credential, Failure> {
    flags.credential(&flags.reach.settings(environment)?)
}

fn token(flags: &ConnectionFlags, environment: &Environment) -> String {
    match credential(flags, environment).unwrap() {
        Credential::Token(token) => token.expose().clone(),
        Credential::Key(_) | Credential::None => panic!("not a token"),
    }
}

fn refusal<T>(result: Result<T, Failure>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_is_missing_is_named_with_every_way_to_give_it() {
    let mut flags = flags();
    let none = Environment::of(&[]);
    let text = refusal(resolved(&flags, &none));
    let expected = "the server is not known: give --endpoint, set LOCKBOX_ENDPOINT, or keep it in \
                    a profile with lockbox config set endpoint";
    assert_eq!(text, expected);
    flags.reach.endpoint = Some("localhost:8443".to_owned());
    assert!(refusal(resolved(&flags, &none)).contains("give --ca, set LOCKBOX_CA"));
    flags.reach.ca = Some(PathBuf::from("/absent"));
    assert!(refusal(resolved(&flags, &none)).contains("LOCKBOX_TOKEN"));
    let text = refusal(resolved(&flags, &Environment::of(&[("LOCKBOX_TOKEN", "t")])));
    assert!(text.starts_with("cannot read the certificate authority /absent"), "{text}");
}

#[test]
fn who_calls_is_said_by_flags_then_variables_then_the_profile() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (of_flag, of_profile) = (file("a", " from-flag\n"), file("b", "from-profile"));
    let config = format!("active = \"p\"\n[profiles.p]\ntoken-file = {of_profile:?}\n");
    let config = file("config.toml", &config);
    let config = ("LOCKBOX_CONFIG", config.to_str().unwrap());

    let mut flags = flags();
    assert_eq!(token(&flags, &Environment::of(&[config])), "from-profile");
    let both = Environment::of(&[config, ("LOCKBOX_TOKEN", "from-env"), ("LOCKBOX_CA", "")]);
    assert_eq!(token(&flags, &both), "from-env");
    // A key in the environment, too, goes before the profile's token.
    let key = Environment::of(&[config, ("LOCKBOX_SA_KEY", "/absent/key")]);
    assert!(refusal(credential(&flags, &key)).contains("/absent/key"));
    flags.token_file = Some(of_flag);
    assert_eq!(token(&flags, &both), "from-flag");
    flags.sa_key = Some(PathBuf::from("/absent"));
    assert!(refusal(credential(&flags, &both)).contains("exclude each other"));
    flags.token_file = None;
    assert!(refusal(credential(&flags, &both)).contains("/absent"));

    // An empty variable is absent.
    flags.reach.endpoint = Some("localhost:1".to_owned());
    assert!(refusal(resolved(&flags, &both)).contains("--ca"));
}

#[test]
fn a_token_shows_in_no_debug_output() {
    let environment = Environment::of(&[("LOCKBOX_TOKEN", "canary")]);
    let credential = credential(&flags(), &environment).unwrap();
    assert!(!format!("{credential:?}").contains("canary"));
}

#[test]
fn the_host_is_what_the_certificate_must_name() {
    assert_eq!(host("localhost:8443"), "localhost");
    assert_eq!(host("[::1]:8443"), "::1");
}
