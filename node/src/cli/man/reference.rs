//! What holds for all commands: exit codes, variables, files. The manual's first page shows it.

use lockbox_platform::exit::ExitCode;

use crate::cli::failure::Exit;

/// The exit codes, by number: those of commands that call a server, and those that only servers
/// end with.
pub(crate) fn exit_codes() -> Vec<(String, String)> {
    let of_client = [
        (0, "It went well."),
        (Exit::Refused.code(), "The server answered, and refused."),
        (
            Exit::Usage.code(),
            "The command line, the environment, the configuration or a file that one of them \
             names is wrong.",
        ),
        (
            Exit::Unreachable.code(),
            "The server is out of reach, is not ready or took too long. A change may have taken \
             effect: with the same --idempotency-key it may be sent again.",
        ),
    ];
    let mut codes: Vec<(u8, String)> =
        of_client.into_iter().map(|(code, meaning)| (code, meaning.to_owned())).collect();
    for of_server in ExitCode::ALL {
        let (code, meaning) = (of_server.code(), of_server.meaning());
        if codes.iter().all(|(known, _)| *known != code) {
            let who = if of_server == ExitCode::Internal { "Any command" } else { "A server" };
            codes.push((code, format!("{who}: {meaning}.")));
        }
    }
    codes.into_iter().map(|(code, meaning)| (code.to_string(), meaning)).collect()
}

/// The variables that commands read.
pub(crate) fn variables() -> Vec<(String, String)> {
    owned(&[
        ("LOCKBOX_ENDPOINT", "The server, as host:port."),
        (
            "LOCKBOX_KMS_ENDPOINT",
            "The KMS, as host:port, when it is another than the server names.",
        ),
        ("LOCKBOX_CA", "PEM file of the certificate authorities to trust."),
        ("LOCKBOX_TOKEN", "An IAM token. It goes before LOCKBOX_SA_KEY."),
        ("LOCKBOX_SA_KEY", "File with the authorized key of a service account, to log in with."),
        ("LOCKBOX_FOLDER_ID", "The folder to create, list and look up names in."),
        ("LOCKBOX_CLOUD_ID", "The cloud to look up names of folders in."),
        ("LOCKBOX_FORMAT", "How answers are printed: text, yaml, json, json-rest."),
        ("LOCKBOX_PROFILE", "The profile for what neither flags nor variables say."),
        ("LOCKBOX_CONFIG", "The file of profiles."),
        ("LOCKBOX_LOG", "What servers log: info, lockbox=debug and the like."),
        (
            "LOCKBOX_CONFIG_...",
            "Keys of a node's configuration: LOCKBOX_CONFIG_API__LISTEN is api.listen.",
        ),
    ])
}

/// The files that commands read or write unless told otherwise.
pub(crate) fn files() -> Vec<(String, String)> {
    owned(&[
        (
            "$XDG_CONFIG_HOME/lockbox/config.toml, ~/.config/lockbox/config.toml",
            "Profiles: see lockbox config --help. No secret is in it, only the paths of files \
             that hold one.",
        ),
        (
            ".lockbox/dev/env",
            "Variables for a shell, while lockbox dev runs. A token is in it; only its owner may \
             read it.",
        ),
    ])
}

fn owned(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(term, meaning)| ((*term).to_owned(), (*meaning).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_there_once_in_order() {
        let codes: Vec<u8> = exit_codes().iter().map(|(code, _)| code.parse().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 70]);
    }

    /// `docs/command-line.md` has the same tables.
    #[test]
    fn the_documentation_agrees() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command-line.md");
        let text = std::fs::read_to_string(path).unwrap();
        for (code, meaning) in exit_codes() {
            let row = format!("| {code} | {meaning} |");
            assert!(text.contains(&row), "missing: {row}");
        }
        for (variable, _) in variables() {
            assert!(text.contains(&format!("`{variable}`")), "missing: {variable}");
        }
    }
}
