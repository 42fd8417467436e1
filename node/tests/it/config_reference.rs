//! `docs/reference/config-node.md` is what the code says.

use lockbox::config::Config;

use crate::reference::{Reference, check};

const HEAD: &str = "\
# Configuration of a node

`lockbox serve --config FILE` reads one TOML file. This page is made from the code; a test holds it \
to that.

- Every key can be given by the environment: `LOCKBOX_CONFIG_` and the key in upper case, with two \
underscores between a table and a key. `LOCKBOX_CONFIG_API__LISTEN` is `api.listen`. It goes before \
the file.
- Secrets are never in the file, only paths of files that hold one. A path that begins with \
`$CREDENTIALS_DIRECTORY/` is that of a credential that systemd hands over (`LoadCredential=`).
- What is not known is refused. `lockbox config check FILE` tells every mistake at once.

";

/// All tables, with what they cannot do without.
const SMALLEST: &str = r#"
node_id = 1
data_dir = "/data"
[api]
listen = "127.0.0.1:8443"
advertise = "localhost:8443"
certificate = "api.pem"
key = "api-key.pem"
[peer]
listen = "127.0.0.1:8444"
advertise = "localhost:8444"
certificate = "node-1.pem"
key = "node-1-key.pem"
ca = "ca.pem"
[metrics]
listen = "127.0.0.1:9464"
[kms]
address = "localhost:8470"
[audit.syslog]
to = "unix:///dev/log"
[audit.otlp]
endpoint = "localhost:4317"
[backup.bucket]
endpoint = "https://s3.example"
name = "backups"
credentials_file = "s3"
[traces.otlp]
endpoint = "localhost:4317"
"#;

#[test]
fn the_reference_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, SMALLEST).unwrap();
    let config = Config::load(&path, &[]).unwrap();
    check(&Reference {
        file: "config-node.md",
        head: HEAD,
        sources: &[
            "node/src/config.rs",
            "node/src/config",
            "platform/src/audit/shipping/config.rs",
            "platform/src/listener/limits.rs",
            "platform/src/otlp/config.rs",
            "platform/src/trace/config.rs",
        ],
        root: "Config",
        smallest: SMALLEST,
        read: format!("{config:?}"),
    });
}
