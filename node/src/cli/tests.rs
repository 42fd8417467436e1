//! The parser, and whole runs that fail before they reach a server.

use clap::CommandFactory;

use super::*;

fn parsed(line: &str) -> Result<Cli, String> {
    Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
}

fn exit(line: &[&str]) -> ExitCode {
    run(line.iter().map(|argument| OsString::from(*argument)))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_published_form_is_understood() {
    for line in [
        "lockbox secret create --name a --description b --labels k=v,l=w --kms-key-id abj1 \
         --version-description c --payload [] --deletion-protection --async --folder-id b1g1",
        "lockbox secret create --payload -",
        "lockbox secret get a --format json",
        "lockbox secret --format json-rest get --id e6q1",
        "lockbox secret get --name a --format table --timeout 5s --retry -1",
        "lockbox secret list --limit 5 --endpoint localhost:1 --ca ca.pem --token-file t",
        "lockbox secret add-version a --payload @f --base-version-id v --idempotency-key k",
        "lockbox secret set-current-version a --version-id v --sa-key key.json",
        "lockbox secret list-versions a --limit 1",
        "lockbox secret list-version --name a",
        "lockbox payload get a --key k --version-id v",
        "lockbox secret list-access-bindings a --limit 5",
        "lockbox secret list-access-binding --name a",
        "lockbox secret list-operations --id e6q1",
        "lockbox secret add-access-binding a --role lockbox.viewer --service-account-id aje1",
        "lockbox secret remove-access-binding a --role r --subject system:allUsers --async",
        "lockbox secret set-access-bindings a --access-binding role=r,subject=system:allUsers -y",
        "lockbox secret list --folder-name default --cloud-id b1g1",
        "lockbox secret get a --impersonate-service-account-id aje1 --profile p",
        "lockbox --profile p payload get a --key k",
        "lockbox kms symmetric-key create --name a --description b --labels k=v \
         --default-algorithm aes-256-hsm --rotation-period 24h --deletion-protection --async",
        "lockbox kms symmetric-keys get a --kms-endpoint localhost:1 --kms-server-name n",
        "lockbox kms symmetric-key list --limit 5 --format json",
        "lockbox kms symmetric-key list-versions --name a",
        "lockbox kms symmetric-key update a --new-name b --status inactive \
         --default-algorithm gost-r-3412-2015-k --rotation-period 48h --no-deletion-protection",
        "lockbox kms symmetric-key delete a --async",
        "lockbox kms symmetric-key rotate --id abj1 --idempotency-key k",
        "lockbox kms symmetric-key set-primary-version a --version-id v",
        "lockbox kms symmetric-key schedule-version-destruction a --version-id v \
         --pending-period 168h",
        "lockbox kms symmetric-key cancel-version-destruction a --version-id v",
        "lockbox kms symmetric-key list-operations a --limit 1",
        "lockbox kms symmetric-key list-access-bindings a",
        "lockbox kms symmetric-key add-access-binding a --role r --service-account-id aje1",
        "lockbox kms symmetric-key remove-access-binding a --role r --subject system:allUsers",
        "lockbox kms symmetric-key set-access-bindings a -y",
        "lockbox --profile p kms symmetric-crypto encrypt a --plaintext-file - --version-id v",
        "lockbox kms symmetric-crypto decrypt --name a --ciphertext-file c --plaintext-file p \
         --aad-context-file x --sa-key key.json",
        "lockbox config set kms-endpoint localhost:1",
        "lockbox config check node.toml --no-files",
        "lockbox metadata --listen [::1]:0 --sa-key k --profile p --timeout 5s --retry -1",
        "lockbox config set service-account-key k --profile p",
        "lockbox completion zsh",
        "lockbox version",
        "lockbox cert init --authority d --days 3650",
        "lockbox cert issue node-1 --host a --host 127.0.0.1 --out d --days 90 --force",
        "lockbox cert --authority d rotate a.pem b.pem --all",
        "lockbox cert rotate-authority --finish",
        "lockbox cert list",
        "lockbox version --formats --format json",
        "lockbox man --dir d",
        "lockbox iam explain me payload.get e6q1 --format json",
        "lockbox iam explain serviceAccount:aje1 secrets.list b1g1 --endpoint localhost:1",
        "lockbox health --config node.toml --live --timeout 500ms",
        "lockbox cluster status --endpoint a:1 --ca c --certificate d --key e --server-name n",
        "lockbox cluster --config node.toml status --format yaml",
        "lockbox cluster raise-feature-level --config n",
        "lockbox cluster raise-feature-level 2 --dry-run --config n --format json",
        "lockbox cluster init --config n --member 1=a:1,a:2 --member 2=b:1,b:2 --admin-key f",
        "lockbox cluster recover-admin --config n --admin-key f --keep-other-keys",
        "lockbox cluster recover-quorum --config n",
        "lockbox cluster recover-quorum --accept-loss-after 7 --config n --format json",
        "lockbox admin keyring rotate --config n",
        "lockbox admin --config n keyring status --format json",
        "lockbox admin backup --to f --under-kms --config n --timeout 30m --recipient \
         lockbox-recipient-1-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "lockbox admin backup --store --stale --endpoint a:1 --ca c --certificate d --key e",
        "lockbox admin backup list --config n --format json",
        "lockbox admin backup verify f --recipient-key k --any-signer",
        "lockbox admin backup keygen --to f",
        "lockbox admin --config n backup destroyed --after 7 --to d",
        "lockbox admin restore f --config n --recipient-key k --dry-run --destroyed d",
        "lockbox admin restore name --stored --config n --destroyed-may-return",
        "lockbox admin seal 2 --config n",
        "lockbox admin unseal 2 --endpoint a:1 --ca c --certificate d --key e",
        "lockbox iam key create -o f --service-account-id aje1 --algorithm rsa-4096",
        "lockbox iam key list --service-account-id aje1 --limit 5",
        "lockbox iam key delete ajk1 --idempotency-key k",
        "lockbox audit verify /data",
        "lockbox audit verify /data --heads heads.json --node 2",
        "lockbox audit verify --config node.toml --cluster --timeout 5s",
        "lockbox audit verify /data --heads heads.json --signer \
         00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "lockbox audit tail /data -f -n 100",
        "lockbox audit grep /data --subject aje1 --resource e6q1 --event GetPayload \
         --since 2026-11-24 --until 2026-11-24T12:00:00Z",
        "lockbox audit heads --config node.toml --node 1 --format json",
    ] {
        parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "lockbox secret get",
        "lockbox secret get a --id b",
        "lockbox secret get --id a --name b",
        "lockbox secret list --limit 0",
        "lockbox secret list --format xml",
        "lockbox secret list --timeout 0s",
        "lockbox secret create --labels novalue",
        "lockbox secret create --token t",
        "lockbox secret list --folder-name a --folder-id b",
        "lockbox config set token t",
        "lockbox config profile create a/b",
        "lockbox completion tcsh",
        "lockbox man secret --dir d",
        "lockbox serve --config c --profile p",
        "lockbox secret set-current-version a",
        "lockbox secret add-access-binding a --role r",
        "lockbox secret add-access-binding a --user-account-id u",
        "lockbox secret set-access-bindings a --access-binding role=r,subject=system:allUsers",
        "lockbox kms symmetric-key get",
        "lockbox kms symmetric-key get a --id b",
        "lockbox kms symmetric-key update a",
        "lockbox kms symmetric-key set-primary-version a",
        "lockbox kms symmetric-key set-access-bindings a",
        "lockbox kms symmetric-crypto encrypt a",
        "lockbox kms symmetric-crypto decrypt a --plaintext-file p",
        "lockbox iam explain me payload.steal e6q1",
        "lockbox iam explain robot:a payload.get e6q1",
        "lockbox iam explain me payload.get",
        "lockbox cluster init --admin-key f",
        "lockbox cluster recover-admin",
        "lockbox cluster recover-quorum --accept-loss-after -1",
        "lockbox audit tail",
        "lockbox audit grep /data --since yesterday",
        "lockbox audit verify /data --heads heads.json --cluster",
        "lockbox audit verify /data --heads heads.json --signer 0011",
        "lockbox iam key create",
        "lockbox iam key create -o f --algorithm rsa-1024",
        "lockbox cluster init --member 1=a:1,a:2",
        "lockbox cluster status --certificate c",
        "lockbox admin keyring --config n",
        "lockbox admin backup --to f --recipient nobody --config n",
        "lockbox admin backup verify",
        "lockbox admin backup verify f --signer 00",
        "lockbox admin backup keygen",
        "lockbox admin restore --config n",
        "lockbox admin seal --config n",
        "lockbox admin seal 0 --config n",
        "lockbox",
    ] {
        assert!(parsed(line).is_err(), "{line}");
    }
}

#[test]
fn a_payload_on_the_command_line_shows_in_no_debug_output() {
    let cli = parsed("lockbox secret create --payload [{key:k,text_value:canary}]").unwrap();
    let text = format!("{cli:?}");
    assert!(text.contains("[redacted]") && !text.contains("canary"), "{text}");
}

#[test]
fn help_is_success_and_a_mistake_is_two() {
    assert_eq!(exit(&["lockbox", "--version"]), ExitCode::SUCCESS);
    assert_eq!(exit(&["lockbox", "secret", "create", "--help"]), ExitCode::SUCCESS);
    assert_eq!(exit(&["lockbox", "secret", "mend"]), ExitCode::from(2));
}

#[test]
fn help_warns_of_values_in_the_history() {
    let mut command = Cli::command();
    let create = command.find_subcommand_mut("secret").unwrap();
    let create = create.find_subcommand_mut("create").unwrap();
    let help = create.render_long_help().to_string();
    assert!(help.contains("history"), "{help}");
}

/// A variable that is not set must not stand for what is not given: it would make a key of the
/// caller, who may be the administrator, in place of the account that was meant.
#[test]
fn an_empty_id_is_not_an_id_that_was_left_out() {
    use clap::Parser;
    for line in [
        "iam key create --output k.json --service-account-id",
        "iam key list --service-account-id",
        "payload get s --version-id",
        "kms symmetric-crypto encrypt k --plaintext-file - --version-id",
    ] {
        let words = || ["lockbox"].into_iter().chain(line.split(' '));
        assert!(super::Cli::try_parse_from(words().chain(["some-id"])).is_ok(), "{line}");
        let refused = super::Cli::try_parse_from(words().chain([""])).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{line}");
    }
}
