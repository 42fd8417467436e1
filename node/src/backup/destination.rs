//! Where backups go: a directory, or a bucket of an S3-compatible object store.
//!
//! Promises: a name is there once its whole content is, and durable then. Knows nothing of what is
//! inside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lockbox_core::SensitiveString;
use lockbox_platform::credentials::is_private;
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use object_store::{Certificate, ClientOptions, GetOptions, ObjectStore, PutOptions, PutPayload};
use tokio::io::AsyncWriteExt;

use super::BackupError;
use crate::config::{BackupConfig, BucketConfig};

/// What is not finished ends with this.
const UNFINISHED: &str = ".tmp";
/// Bytes of one part of an upload; 10,000 parts make 80 GiB.
const PART_BYTES: usize = 8 << 20;
/// How long a connection to a bucket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take, with all that it carries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 2;

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A place for backups. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A directory.
    Directory(PathBuf),
    /// A bucket, and what the names in it begin with.
    Bucket(Arc<dyn ObjectStore>, String),
}

fn failed(error: impl std::fmt::Display) -> BackupError {
    BackupError::Place(error.to_string())
}

impl Destination {
    /// That of a configuration; nothing when it has none.
    ///
    /// # Errors
    /// [`BackupError::Place`] when the bucket cannot be used as it is described.
    pub fn of(config: &BackupConfig) -> Result<Option<Self>, BackupError> {
        if let Some(directory) = &config.directory {
            return Ok(Some(Self::Directory(directory.clone())));
        }
        config.bucket.as_ref().map(bucket).transpose()
    }

    /// Stores a file under a name.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn store(&self, name: &str, from: &Path) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name, from) = (directory.clone(), name.to_owned(), from.to_owned());
                blocking(move || place(&directory, &name, |to| fs::copy(&from, to).map(drop))).await
            }
            Self::Bucket(store, prefix) => {
                let mut input = tokio::fs::File::open(from).await.map_err(failed)?;
                let path = located(prefix, name);
                let mut output = BufWriter::with_capacity(Arc::clone(store), path, PART_BYTES)
                    .with_max_concurrency(PARTS_AT_ONCE);
                if let Err(error) = tokio::io::copy(&mut input, &mut output).await {
                    // Else its parts would stay, unseen, and be paid for.
                    if let Err(error) = output.abort().await {
                        tracing::warn!(%error, "a broken upload is not taken back");
                    }
                    return Err(failed(error));
                }
                // Only this makes the object.
                output.shutdown().await.map_err(failed)
            }
        }
    }

    /// Stores a small content under a name.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || place(&directory, &name, |to| fs::write(to, &content))).await
            }
            Self::Bucket(store, prefix) => {
                let payload = PutPayload::from(content);
                let path = located(prefix, name);
                let put = store.put_opts(&path, payload, PutOptions::default()).await;
                put.map(drop).map_err(failed)
            }
        }
    }

    /// The files that are there, by name.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn list(&self) -> Result<Vec<Stored>, BackupError> {
        let mut stored = match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || list(&directory)).await?
            }
            Self::Bucket(store, prefix) => {
                let mut stored = Vec::new();
                let below = (!prefix.is_empty()).then(|| ObjectPath::from(prefix.as_str()));
                let mut objects = store.list(below.as_ref());
                while let Some(object) = objects.next().await {
                    let object = object.map_err(failed)?;
                    let Some(name) = object.location.filename() else { continue };
                    // What is further below is somebody else's.
                    if object.location == located(prefix, name) {
                        stored.push(Stored { name: name.to_owned(), bytes: object.size });
                    }
                }
                stored
            }
        };
        stored.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(stored)
    }

    /// Takes a file away; one that is not there is no error.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn remove(&self, name: &str) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                blocking(move || remove(&path)).await
            }
            Self::Bucket(store, prefix) => {
                let path = Ok(located(prefix, name));
                let mut removed = store.delete_stream(futures::stream::iter([path]).boxed());
                match removed.next().await {
                    Some(Err(object_store::Error::NotFound { .. })) | Some(Ok(_)) | None => Ok(()),
                    Some(Err(error)) => Err(failed(error)),
                }
            }
        }
    }

    /// Brings a file here.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn fetch(&self, name: &str, to: &Path) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let (from, to) = (directory.join(name), to.to_owned());
                blocking(move || fs::copy(&from, &to).map(drop)).await
            }
            Self::Bucket(store, prefix) => {
                let found = store.get_opts(&located(prefix, name), GetOptions::default()).await;
                let found = found.map_err(failed)?;
                let mut output = tokio::fs::File::create(to).await.map_err(failed)?;
                let mut content = found.into_stream();
                while let Some(bytes) = content.next().await {
                    let bytes = bytes.map_err(failed)?;
                    output.write_all(&bytes).await.map_err(failed)?;
                }
                output.flush().await.map_err(failed)
            }
        }
    }
}

/// Work on files, beside the asynchronous tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BackupError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(failed),
        Err(ended) => Err(failed(ended)),
    }
}

/// Writes a file under another name, makes it durable, and gives it its own.
fn place(
    directory: &Path,
    name: &str,
    write: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}{UNFINISHED}"));
    write(&unfinished)?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, directory.join(name))?;
    File::open(directory)?.sync_all()
}

fn list(directory: &Path) -> io::Result<Vec<Stored>> {
    let mut stored = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if metadata.is_file() && !name.ends_with(UNFINISHED) {
            stored.push(Stored { name, bytes: metadata.len() });
        }
    }
    Ok(stored)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn located(prefix: &str, name: &str) -> ObjectPath {
    ObjectPath::from(format!("{prefix}/{name}"))
}

/// Whether the files that a bucket is described by can be used. Nobody is called.
///
/// # Errors
/// [`BackupError::Place`].
pub fn check_files(config: &BucketConfig) -> Result<(), BackupError> {
    credentials(&config.credentials_file)?;
    authorities(config).map(drop)
}

/// Those of the bucket's certificate; none are those of the system.
fn authorities(config: &BucketConfig) -> Result<Vec<Certificate>, BackupError> {
    let Some(path) = &config.ca else { return Ok(Vec::new()) };
    let unread = |error: &dyn std::fmt::Display| unusable(path, error);
    let pem = fs::read(path).map_err(|error| unread(&error))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| unread(&error))?;
    if found.is_empty() { Err(unread(&"it holds no certificate in PEM")) } else { Ok(found) }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> BackupError {
    BackupError::Place(format!("{}: {why}", path.display()))
}

fn bucket(config: &BucketConfig) -> Result<Destination, BackupError> {
    let (id, secret) = credentials(&config.credentials_file)?;
    let mut options = ClientOptions::new()
        .with_allow_http(config.plaintext)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT);
    for certificate in authorities(config)? {
        options = options.with_root_certificate(certificate);
    }
    let store = AmazonS3Builder::new()
        .with_endpoint(config.endpoint.trim_end_matches('/'))
        .with_region(&config.region)
        .with_bucket_name(&config.name)
        .with_access_key_id(id)
        .with_secret_access_key(secret.expose())
        // The bucket is a part of the path: endpoints of one's own have no names for buckets.
        .with_virtual_hosted_style_request(false)
        .with_client_options(options)
        .build()
        .map_err(failed)?;
    Ok(Destination::Bucket(Arc::new(store), config.prefix.trim_matches('/').to_owned()))
}

/// The two lines of a file; no error quotes them.
fn credentials(path: &Path) -> Result<(String, SensitiveString), BackupError> {
    let file = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    if !is_private(path, &file) {
        return Err(unusable(path, &"others can read it"));
    }
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let text = SensitiveString::new(text);
    let mut lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(secret), None) => {
            Ok((id.to_owned(), SensitiveString::new(secret.to_owned())))
        }
        _ => Err(unusable(path, &"must have two lines, the id of the access key and its secret")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_directory_has_whole_files_alone() {
        let (place, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let destination = Destination::Directory(place.path().to_owned());
        let file = here.path().join("file");
        fs::write(&file, "content").unwrap();
        destination.store("b", &file).await.unwrap();
        destination.put("a", b"list".to_vec()).await.unwrap();
        fs::write(place.path().join("c.tmp"), "half").unwrap();
        let stored = destination.list().await.unwrap();
        let named: Vec<_> = stored.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(named, [("a", 4), ("b", 7)]);
        let fetched = here.path().join("fetched");
        destination.fetch("b", &fetched).await.unwrap();
        assert_eq!(fs::read(&fetched).unwrap(), b"content");
        destination.remove("b").await.unwrap();
        destination.remove("b").await.unwrap();
        assert!(destination.fetch("b", &fetched).await.is_err());
        let nowhere = Destination::Directory(place.path().join("nowhere"));
        assert!(nowhere.list().await.is_err() && nowhere.store("b", &file).await.is_err());
    }

    #[test]
    fn credentials_are_two_lines_and_not_quoted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("credentials");
        let allow = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "id\n secret \n\n").unwrap();
        allow(0o644);
        let open = credentials(&path).unwrap_err().to_string();
        assert!(open.ends_with("others can read it"), "{open}");
        allow(0o600);
        let (id, secret) = credentials(&path).unwrap();
        assert_eq!((id.as_str(), secret.expose().as_str()), ("id", "secret"));
        for wrong in ["", "hunter2", "a\nb\nhunter2"] {
            fs::write(&path, wrong).unwrap();
            let error = credentials(&path).unwrap_err().to_string();
            assert!(error.contains("two lines") && !error.contains("hunter2"), "{error}");
        }
    }
}
