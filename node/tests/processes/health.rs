//! What a service manager hears of the servers, and what the health check of a container sees.

use std::os::unix::net::UnixDatagram;
use std::thread;

use crate::cluster::{Cluster, NODES, PARTS, Part};
use crate::waiting::until;

/// Sent by the test itself, behind all that the servers have said.
const LAST: &[u8] = b"LAST";

/// Everything that is said until the last word.
fn listen(manager: &UnixDatagram) -> Vec<String> {
    let mut said = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let length = manager.recv(&mut bytes).unwrap();
        if bytes[..length] == *LAST {
            return said;
        }
        said.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
    }
}

/// What `health` of a part's program ends with, and what it says.
fn asked(cluster: &Cluster, part: Part, flags: &[&str]) -> (Option<i32>, String) {
    let output = match part {
        Part::Kms => cluster.kms_sim(&[&["health"][..], flags].concat()),
        Part::Node(_) => {
            let config = cluster.directory().join(format!("{part}.toml"));
            let config = config.to_str().unwrap();
            cluster.lockbox(&[&["health", "--config", config][..], flags].concat(), b"")
        }
    };
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_and_the_health_check_see_how_each_server_is() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let listening = thread::spawn(move || listen(&manager));
    let name = socket.to_str().unwrap().to_owned();
    let mut cluster = Cluster::start(vec![("NOTIFY_SOCKET", name)]).await;
    for part in PARTS {
        assert_eq!(asked(&cluster, part, &["--live"]), (Some(0), "alive\n".to_owned()), "{part}");
        assert_eq!(asked(&cluster, part, &[]), (Some(0), "ready\n".to_owned()), "{part}");
    }

    // A node without the others lives, and does not serve.
    for node in [2, 3] {
        cluster.kill(Part::Node(node));
    }
    let alone = Part::Node(1);
    let said = until("node that is alone", async || {
        let (code, said) = asked(&cluster, alone, &[]);
        (code == Some(1)).then_some(said)
    });
    let said = said.await;
    assert!(said.starts_with("lockbox: replica: "), "{said}");
    assert_eq!(asked(&cluster, alone, &["--live"]).0, Some(0));

    for part in [alone, Part::Kms] {
        cluster.stop_part(part).await;
        let (code, said) = asked(&cluster, part, &["--live"]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("cannot ask 127.0.0.1:"), "{said}");
    }

    UnixDatagram::unbound().unwrap().send_to(LAST, &socket).unwrap();
    let heard = listening.join().unwrap();
    let times = |wanted: &str| {
        heard.iter().flat_map(|message| message.lines()).filter(|line| *line == wanted).count()
    };
    assert_eq!(times("READY=1"), PARTS.len(), "{heard:?}");
    assert!(times("STATUS=ready") >= NODES.len(), "{heard:?}");
    // Those that were killed said nothing.
    assert_eq!(times("STOPPING=1"), 2, "{heard:?}");
}
