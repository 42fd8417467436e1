//! `docs/reference/config-kms-sim.md` is what the code says.

use lockbox_kms_sim::KmsConfig;

use crate::reference::{Reference, check};

const HEAD: &str = "\
# Configuration of kms-sim

`kms-sim serve --config FILE` reads one TOML file. This page is made from the code; a test holds it \
to that.

- Every key can be given by the environment: `KMS_CONFIG_` and the key in upper case, with two \
underscores between a table and a key. `KMS_CONFIG_API__LISTEN` is `api.listen`. It goes before the \
file.
- Secrets are never in the file, only paths of files that hold one. A path that begins with \
`$CREDENTIALS_DIRECTORY/` is that of a credential that systemd hands over (`LoadCredential=`).
- What is not known is refused. `kms-sim config check FILE` tells every mistake at once.

";

/// All tables, with what they cannot do without.
const SMALLEST: &str = r#"
data_dir = "/data"
[api]
listen = "127.0.0.1:8470"
certificate = "kms.pem"
key = "kms-key.pem"
client_ca = "ca.pem"
[metrics]
listen = "127.0.0.1:9465"
[cluster]
[[cluster.nodes]]
address = "localhost:8444"
server_name = "node-1.lockbox.internal"
[policy]
file = "policy.toml"
[audit.syslog]
to = "unix:///dev/log"
[audit.otlp]
endpoint = "localhost:4317"
[traces.otlp]
endpoint = "localhost:4317"
"#;

#[test]
fn the_reference_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kms.toml");
    std::fs::write(&path, SMALLEST).unwrap();
    let config = KmsConfig::load(&path, &[]).unwrap();
    check(&Reference {
        file: "config-kms-sim.md",
        head: HEAD,
        sources: &[
            "kms-sim/src/config.rs",
            "kms-sim/src/config",
            "platform/src/audit/shipping/config.rs",
            "platform/src/listener/limits.rs",
            "platform/src/otlp/config.rs",
            "platform/src/trace/config.rs",
        ],
        root: "KmsConfig",
        smallest: SMALLEST,
        read: format!("{config:?}"),
    });
}
