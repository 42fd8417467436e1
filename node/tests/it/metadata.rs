//! `lockbox metadata` as a process, beside a node behind TLS.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

use lockbox_proto::yandex::cloud::lockbox::v1::ListSecretsRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::bearing;
use crate::served::Served;

const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const FLAVOR: &str = "Metadata-Flavor: Google";

/// The server, and where it listens.
struct Metadata {
    child: Child,
    address: String,
    said: String,
}

fn command(served: &Served, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    command
        .args(["metadata", "--listen", listen, "--retry", "0", "--sa-key"])
        .arg(served.key_file())
        .env_clear()
        .env("LOCKBOX_ENDPOINT", &served.address)
        .env("LOCKBOX_CA", &served.ca)
        // A token is no key: it cannot be renewed.
        .env("LOCKBOX_TOKEN", "canary")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Metadata {
    /// Starts it, and waits until it says where it listens.
    async fn start(served: &Served) -> Self {
        let mut child = command(served, "127.0.0.1:0").spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let reading = move || {
            let mut said = String::new();
            while !said.contains("Ctrl-C") && stdout.read_line(&mut said).unwrap() > 0 {}
            said
        };
        let said = tokio::task::spawn_blocking(reading).await.unwrap();
        let address = said.split("YC_METADATA_ADDR=").nth(1).and_then(|rest| rest.lines().next());
        let address = address.unwrap_or_else(|| panic!("{said:?}")).to_owned();
        Self { child, address, said }
    }

    /// Sends a request with these lines behind the first; returns status and body.
    async fn ask(&self, method: &str, path: &str, lines: &[&str]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let own = if lines.contains("host:") { "" } else { &format!("host: {}\r\n", self.address) };
        stream.write_all(format!("{head}{own}{lines}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    async fn token(&self) -> String {
        let (status, body) = self.ask("GET", TOKEN, &[FLAVOR]).await;
        assert_eq!(status, 200, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["token_type"], "Bearer");
        let seconds = json["expires_in"].as_u64().unwrap();
        assert!((3600..=12 * 3600).contains(&seconds), "{seconds}");
        json["access_token"].as_str().unwrap().to_owned()
    }

    /// Sends SIGINT, and returns the end with all that was written to standard error.
    async fn interrupt(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || {
            let mut complaint = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            (self.child.wait().unwrap(), complaint)
        });
        tokio::time::timeout(crate::fixture::WAIT, ended).await.unwrap().unwrap()
    }
}

fn logins(served: &Served) -> usize {
    served.node.audit().matches("CreateIamToken").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_the_machine_gets_a_token_that_the_node_takes() {
    let served = Served::start().await;
    let before = logins(&served);
    let metadata = Metadata::start(&served).await;
    assert!(metadata.said.contains(served.node.made.admin_id.as_str()), "{}", metadata.said);

    let token = metadata.token().await;
    let folder_id = served.node.made.folder_id.to_string();
    let request = ListSecretsRequest { folder_id, ..ListSecretsRequest::default() };
    served.node.secrets().list(bearing(&token, request)).await.unwrap();
    // It is kept: nobody logs in for each program that asks.
    assert_eq!(metadata.token().await, token);
    assert_eq!(metadata.ask("GET", &format!("{TOKEN}?scopes=x"), &[FLAVOR]).await.0, 200);
    assert_eq!(logins(&served) - before, 1);

    assert_eq!(metadata.ask("GET", TOKEN, &[]).await.0, 403);
    assert_eq!(metadata.ask("GET", TOKEN, &["Metadata-Flavor: Other"]).await.0, 403);
    let proxied = [FLAVOR, "X-Forwarded-For: 10.0.0.1"];
    assert_eq!(metadata.ask("GET", TOKEN, &proxied).await.0, 403);
    let rebound = [FLAVOR, "host: evil.example"];
    assert_eq!(metadata.ask("GET", TOKEN, &rebound).await.0, 403);
    assert_eq!(metadata.ask("GET", "/computeMetadata/v1/", &[FLAVOR]).await.0, 404);
    assert_eq!(metadata.ask("GET", "/", &[]).await.0, 403);
    let posted = [FLAVOR, "content-length: 0"];
    assert_eq!(metadata.ask("POST", TOKEN, &posted).await.0, 405);

    let said = metadata.said.clone();
    let (ended, complaint) = metadata.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{complaint}");
    assert_eq!(complaint, "");
    assert!(!said.contains(&token));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_loopback_alone_and_says_at_once_what_is_wrong() {
    let served = Served::start().await;
    for address in ["0.0.0.0:8469", "[::]:8469", "192.0.2.1:8469"] {
        let output = served.run_as(command(&served, address), "").await;
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("is not a loopback address"), "{complaint}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = served.run_as(command(&served, &address), "").await;
    assert_eq!(output.status.code(), Some(14), "the port is taken");

    let mut nobody = command(&served, "127.0.0.1:0");
    nobody.env("LOCKBOX_ENDPOINT", "localhost:1");
    let output = served.run_as(nobody, "").await;
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("cannot reach localhost:1"), "{complaint}");
    served.stop().await;
}
