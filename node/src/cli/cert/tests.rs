//! The commands, on files in a directory of their own.

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    cert: CertArgs,
}

/// What a command prints; "DIR" in it stands for the directory.
fn typed(directory: &TempDir, words: &str) -> Result<String, String> {
    let place = directory.path().display().to_string();
    let words = words.replace("DIR", &place);
    let words = ["cert", "--authority", place.as_str()].into_iter().chain(words.split(' '));
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let (cert, now_ms) = (&line.cert, SystemClock::new().wall_ms());
    let text = match &cert.command {
        CertCommand::Init { days } => init(&cert.place, *days, now_ms),
        CertCommand::Issue(issue) => issue.run(&cert.place, now_ms),
        CertCommand::Rotate(rotate) => rotate.run(&cert.place, now_ms),
        CertCommand::RotateAuthority(rotate) => rotate.run(&cert.place, now_ms),
        CertCommand::List(list) => list.run(&cert.place, now_ms),
    };
    let text = text.map_err(|failure| failure.to_string());
    text.map(|text| text.replace(&place, "DIR"))
}

#[test]
fn an_authority_issues_what_a_cluster_needs() {
    let directory = tempfile::tempdir().unwrap();
    let alone = typed(&directory, "issue node-1 --host localhost").unwrap_err();
    assert!(alone.contains("there is no authority"), "{alone}");
    assert!(typed(&directory, "init").unwrap().contains("keep it in a safe place"));
    assert!(typed(&directory, "init").unwrap_err().contains("is there already"));

    let issued = typed(&directory, "issue node-1 --host a.test --host 127.0.0.1 --host ::1");
    assert_eq!(issued.unwrap(), "issued DIR/node-1.pem with DIR/node-1-key.pem, for 90 days\n");
    assert!(typed(&directory, "issue node-1").unwrap_err().contains("is there already"));
    typed(&directory, "issue node-1 --force --days 10").unwrap();
    typed(&directory, "issue kms --out DIR/kms").unwrap();
    typed(&directory, "issue operator").unwrap();
    typed(&directory, "issue server --host *.lockbox.test").unwrap();
    assert!(typed(&directory, "issue server").unwrap_err().contains("--host"));
    for wrong in ["node-0", "node-01", "node-x", "somebody", "node-1/../ca"] {
        let refused = typed(&directory, &format!("issue {wrong} --host a.test")).unwrap_err();
        assert!(refused.contains("is none of node-ID"), "{wrong}: {refused}");
    }
    for wrong in ["a_b", "-a", "a..b", "300.1.1.1/8"] {
        let refused = typed(&directory, &format!("issue admin --host={wrong}")).unwrap_err();
        assert!(refused.contains("neither a name nor an address"), "{wrong}: {refused}");
    }
    assert!(typed(&directory, "issue admin --days 398").is_err());

    let listed = typed(&directory, "list").unwrap();
    for row in ["authority", "server and client", "client", "*.lockbox.test", "good"] {
        assert!(listed.contains(row), "{row}: {listed}");
    }
    assert!(!listed.contains("kms.pem"), "{listed}");
    assert!(typed(&directory, "list DIR/kms/kms.pem").unwrap().contains("kms.lockbox.internal"));
}

#[test]
fn certificates_and_their_authority_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    typed(&directory, "init").unwrap();
    assert!(typed(&directory, "rotate").unwrap_err().contains("there is no certificate"));
    typed(&directory, "issue node-1").unwrap();
    let read = || std::fs::read(directory.path().join("node-1.pem")).unwrap();
    let first = read();
    let lasts = typed(&directory, "rotate").unwrap();
    assert_eq!(lasts, "DIR/node-1.pem lasts: left as it is\n");
    assert_eq!(read(), first);
    let renewed = typed(&directory, "rotate --all DIR/node-1.pem --days 30").unwrap();
    assert_eq!(renewed, "renewed DIR/node-1.pem for 30 days\n");
    assert_ne!(read(), first);

    assert!(typed(&directory, "rotate-authority").unwrap().contains("holds both authorities"));
    let early = typed(&directory, "rotate-authority --finish").unwrap_err();
    assert!(early.contains("is still of the authority that is to go"), "{early}");
    typed(&directory, "rotate --all").unwrap();
    typed(&directory, "rotate-authority --finish").unwrap();
    assert_eq!(typed(&directory, "list").unwrap().matches("authority").count(), 1);
}
