//! The file `env`: how a shell connects to a local cluster.
//!
//! Promises: it is there only while everything is ready, because it is written last, under
//! another name, and renamed; it can be read by its owner only, because a token is in it. Lists
//! are separated by spaces inside double quotes, paths are absolute.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lockbox_core::SensitiveString;

use super::ids::Ids;
use super::layout::{Layout, NodePorts, local_address};
use super::prepare::cannot_write;
use crate::cli::failure::Failure;

/// The file's lines, with a token among them.
pub(crate) struct EnvFile {
    text: SensitiveString,
}

impl EnvFile {
    /// What every local cluster has.
    pub(crate) fn new(layout: &Layout, ids: &Ids, token: &SensitiveString) -> Self {
        let mut file = Self { text: SensitiveString::new(String::new()) };
        let addresses: Vec<_> = layout.nodes().map(|(_, p)| local_address(p.api)).collect();
        let metrics: Vec<_> = layout.nodes().map(|(_, p)| metrics_url(p)).collect();
        let first = addresses.first().map_or("", String::as_str);
        file.set("LOCKBOX_ENDPOINT", first);
        file.set("LOCKBOX_ENDPOINTS", &addresses.join(" "));
        file.set("LOCKBOX_CA", &layout.ca().to_string_lossy());
        file.set("LOCKBOX_TOKEN", token.expose());
        file.set("LOCKBOX_SA_KEY", &layout.admin_key().to_string_lossy());
        file.set("LOCKBOX_CLOUD_ID", &ids.cloud_id);
        file.set("LOCKBOX_FOLDER_ID", &ids.folder_id);
        file.set("LOCKBOX_METRICS", &metrics.join(" "));
        let data: Vec<_> = layout
            .nodes()
            .map(|(id, _)| layout.node_data(id).to_string_lossy().into_owned())
            .collect();
        file.set("LOCKBOX_DATA", &data.join(" "));
        file.set("KMS_ENDPOINT", &local_address(layout.ports().kms));
        let kms_metrics = layout.ports().kms_metrics;
        file.set("KMS_METRICS", &format!("http://localhost:{kms_metrics}/metrics"));
        file.set("KMS_CONFIG", &layout.kms_config().to_string_lossy());
        file
    }

    /// Where the programs are; a shell finds them from then on.
    pub(crate) fn programs(&mut self, bin: &Path) {
        self.set("LOCKBOX_BIN", &bin.to_string_lossy());
        let line =
            r#"case ":$PATH:" in *":$LOCKBOX_BIN:"*) ;; *) PATH="$PATH:$LOCKBOX_BIN" ;; esac"#;
        // Writing to a string cannot fail.
        writeln!(self.text.expose_mut(), "{line}").ok();
    }

    /// The processes of a cluster whose servers run by themselves.
    pub(crate) fn processes(&mut self, pids: &[u32], kms_pid: u32) {
        let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
        self.set("LOCKBOX_PIDS", &pids.join(" "));
        self.set("KMS_PID", &kms_pid.to_string());
    }

    fn set(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text.expose_mut(), "export {name}=\"{}\"", escaped(value)).ok();
    }

    /// Puts the file in its place.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let written = Path::new(&name);
        let put = || -> io::Result<()> {
            Self::remove_if_there(written)?;
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(written)?;
            file.write_all(self.text.expose().as_bytes())?;
            fs::rename(written, path)
        };
        put().map_err(|error| cannot_write(path, &error))
    }

    /// Removes the file of an earlier start.
    pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
        Self::remove_if_there(path).map_err(|error| {
            Failure::usage(format_args!("cannot remove {}: {error}", path.display()))
        })
    }

    fn remove_if_there(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

fn metrics_url(ports: NodePorts) -> String {
    format!("http://localhost:{}/metrics", ports.metrics)
}

/// Escapes what a shell would expand inside double quotes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;
    use crate::cli::local::layout::Ports;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join("a $HOME `x` \"y\" \\z");
        fs::create_dir(&odd).unwrap();
        let layout = Layout::new(&odd, Ports::of_cluster(8450, 3)).unwrap();
        let ids = Ids { cloud_id: "b1gcloud".into(), folder_id: "b1gfolder".into() };
        let token = SensitiveString::new("t1.token".to_owned());
        let mut env = EnvFile::new(&layout, &ids, &token);
        env.processes(&[11, 12, 13], 14);
        env.programs(Path::new("/nowhere/bin"));
        env.write(&layout.env()).unwrap();
        env.write(&layout.env()).unwrap();

        let mode = fs::metadata(layout.env()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let script = r#". "$1/env"; printf '%s|%s|%s|%s|%s' "$LOCKBOX_CA" \
            "$LOCKBOX_TOKEN" "$LOCKBOX_PIDS" "$LOCKBOX_ENDPOINTS" "${PATH##*:}""#;
        let shell = Command::new("sh").args(["-c", script, "sh"]).arg(&odd).output().unwrap();
        let expected = format!(
            "{}|t1.token|11 12 13|localhost:8451 localhost:8452 localhost:8453|\
             /nowhere/bin",
            layout.ca().display()
        );
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), expected);
        EnvFile::remove(&layout.env()).unwrap();
        EnvFile::remove(&layout.env()).unwrap();
        assert!(!layout.env().exists());
    }
}
