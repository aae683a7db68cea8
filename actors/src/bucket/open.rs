//! From what is configured to a bucket that can be used.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::{Bucket, Config, Error, ObjectPath};
use crate::limits::{BUCKET_RETRIED_FOR_MAX, BUCKET_RETRIES_MAX, BUCKET_SECRET_BYTES_MAX};
use crate::outbound::Roots;
use crate::outbound::storage::StorageConnector;
use crate::secret::Secret;

/// The schemes, as an error names them.
const SCHEMES: &str = "file:///directory, s3://bucket, az://container or gs://bucket";

pub(super) fn open(name: &str, config: &Config) -> Result<Bucket, Error> {
    let bad = |message: String| Error::Config { name: name.to_owned(), message };
    let url = Url::parse(&config.url)
        .map_err(|error| bad(format!("its url is none ({error}); write it like {SCHEMES}")))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(bad("its url has more than a place; give account and secret_file instead".to_owned()));
    }
    let plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    if plain && !config.allow_http {
        let message = "its endpoint is not encrypted; use https, or set allow_http = true";
        return Err(bad(message.to_owned()));
    }
    if url.scheme() == "file" {
        let path = url.to_file_path().map_err(|()| bad("its url names another machine".to_owned()))?;
        return directory(name, &path);
    }
    if url.scheme() == "memory" {
        return Ok(Bucket::in_memory(name));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let place = host.ok_or_else(|| bad(format!("its url names no bucket; write it like {SCHEMES}")))?;
    let secret = secret(name, config)?;
    let asked = Asked { name, config, place, secret };
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "s3" => asked.s3()?,
        "az" => asked.azure()?,
        "gs" => asked.google()?,
        other => return Err(bad(format!("there is no `{other}` for objects; write it like {SCHEMES}"))),
    };
    let prefix = ObjectPath::from_url_path(url.path())
        .map_err(|error| bad(format!("its url has no usable prefix: {error}")))?;
    Ok(Bucket { name: name.into(), store, prefix, directory: None })
}

pub(super) fn directory(name: &str, path: &Path) -> Result<Bucket, Error> {
    let failed = |source| Error::Directory { name: name.to_owned(), path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let path = fs::canonicalize(path).map_err(failed)?;
    let store = LocalFileSystem::new_with_prefix(&path)
        .map_err(|error| Error::Refused { name: name.to_owned(), message: error.to_string() })?
        // An artifact is recorded once its object is there: so it must be there after a power loss, too.
        .with_fsync(true);
    let (store, prefix) = (Arc::new(store), ObjectPath::default());
    Ok(Bucket { name: name.into(), store, prefix, directory: Some(path.into()) })
}

/// The secret of the file, without the line feed that editors leave.
fn secret(name: &str, config: &Config) -> Result<Option<Secret>, Error> {
    let Some(path) = &config.secret_file else { return Ok(None) };
    let read = || -> io::Result<Secret> {
        let mut text = String::new();
        let length = File::open(path)?.take(BUCKET_SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
        if length as u64 > BUCKET_SECRET_BYTES_MAX {
            return Err(io::Error::other("it is too long to be a secret"));
        }
        Ok(Secret::new(text.trim()))
    };
    read().map(Some).map_err(|source| Error::Secret { name: name.to_owned(), path: path.clone(), source })
}

/// One bucket that is to be opened.
struct Asked<'a> {
    name: &'a str,
    config: &'a Config,
    /// The bucket or container.
    place: &'a str,
    secret: Option<Secret>,
}

impl Asked<'_> {
    fn s3(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder = match self.is_named() {
            true => AmazonS3Builder::new(),
            false => AmazonS3Builder::from_env(),
        };
        builder = builder.with_bucket_name(self.place).with_allow_http(self.config.allow_http);
        if let (Some(account), Some(secret)) = self.pair()? {
            builder = builder.with_access_key_id(account).with_secret_access_key(secret.expose());
        }
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.config.region {
            builder = builder.with_region(region);
        }
        let built = builder.with_retry(retry()).with_http_connector(self.connector()).build();
        Ok(Arc::new(built.map_err(|error| self.refused(&error))?))
    }

    fn azure(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder = match self.is_named() {
            true => MicrosoftAzureBuilder::new(),
            false => MicrosoftAzureBuilder::from_env(),
        };
        builder = builder.with_container_name(self.place).with_allow_http(self.config.allow_http);
        if let (Some(account), Some(secret)) = self.pair()? {
            builder = builder.with_account(account).with_access_key(secret.expose());
        } else if let Some(account) = &self.config.account {
            // The identity of the machine, on this account.
            builder = MicrosoftAzureBuilder::from_env()
                .with_container_name(self.place)
                .with_allow_http(self.config.allow_http)
                .with_account(account);
        }
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let built = builder.with_retry(retry()).with_http_connector(self.connector()).build();
        Ok(Arc::new(built.map_err(|error| self.refused(&error))?))
    }

    fn google(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut builder = match &self.secret {
            Some(secret) => GoogleCloudStorageBuilder::new().with_service_account_key(secret.expose()),
            None => GoogleCloudStorageBuilder::from_env(),
        };
        builder = builder.with_bucket_name(self.place);
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        let options = object_store::ClientOptions::new().with_allow_http(self.config.allow_http);
        let built = builder.with_client_options(options).with_retry(retry());
        let built = built.with_http_connector(self.connector()).build();
        Ok(Arc::new(built.map_err(|error| self.refused(&error))?))
    }

    /// Whether the configuration itself says who we are.
    fn is_named(&self) -> bool {
        self.config.account.is_some() || self.secret.is_some()
    }

    /// Who we are, and the proof.
    fn pair(&self) -> Result<(Option<&str>, Option<&Secret>), Error> {
        if self.secret.is_some() && self.config.account.is_none() {
            let message = "it has a secret_file and no account; name the account that the secret belongs to";
            return Err(Error::Config { name: self.name.to_owned(), message: message.to_owned() });
        }
        Ok((self.config.account.as_deref(), self.secret.as_ref()))
    }

    fn connector(&self) -> StorageConnector {
        StorageConnector::new(Roots::system())
    }

    fn refused(&self, error: &object_store::Error) -> Error {
        Error::Refused { name: self.name.to_owned(), message: error.to_string() }
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: BUCKET_RETRIES_MAX,
        retry_timeout: BUCKET_RETRIED_FOR_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: Config) -> String {
        Bucket::open("results", &config).expect_err("a refusal").to_string()
    }

    #[test]
    fn what_cannot_be_a_bucket_is_refused_with_what_to_do() {
        let table = [
            (Config::at(""), "its url is none"),
            (Config::at("ftp://host/x"), "there is no `ftp`"),
            (Config::at("s3:///x"), "names no bucket"),
            (Config::at("file://elsewhere/x"), "another machine"),
            (Config::at("az://user:hunter2@container"), "account and secret_file"),
            (Config::at("az://container?sig=hunter2"), "account and secret_file"),
            (
                Config { endpoint: Some("http://127.0.0.1:1".into()), ..Config::at("az://c") },
                "allow_http = true",
            ),
            (Config { secret_file: Some("/nowhere/key".into()), ..Config::at("az://c") }, "/nowhere/key"),
        ];
        for (config, part) in table {
            let said = refusal(config.clone());
            assert!(said.contains(part) && said.contains("results"), "{config:?}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_secret_needs_an_account_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        fs::write(&key, "aHVudGVyMg==\n").unwrap();
        let config = Config { secret_file: Some(key.clone()), ..Config::at("az://results/runs") };
        assert!(refusal(config.clone()).contains("no account"));
        let bucket = Bucket::open("results", &Config { account: Some("me".into()), ..config }).unwrap();
        assert_eq!(bucket.path(["a", "b/c", ".."]).as_ref(), "runs/a/b%2Fc/%2E%2E");
        assert!(!format!("{bucket:?}").contains("aHVudGVyMg"));
        fs::write(&key, "x".repeat(70_000)).unwrap();
        let config = Config { secret_file: Some(key), account: Some("me".into()), ..Config::at("s3://b") };
        assert!(refusal(config).contains("too long"));
    }

    #[test]
    fn a_directory_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/deep/er", dir.path().display());
        let bucket = Bucket::open("local", &Config::at(url)).unwrap();
        assert!(bucket.directory().is_some_and(Path::is_dir));
    }
}
