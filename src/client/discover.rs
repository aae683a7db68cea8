//! Where the server is and which key it takes: `--url` or `DOGWATCH_URL`, else the data directory.

use std::io;
use std::path::PathBuf;

use dogwatch_actors::secret::Secret;

use super::{Client, Error, Result};
use crate::config::Environment;
use crate::serve::addresses::Addresses;

/// What is known about where the server is.
#[derive(Debug, Clone)]
pub struct Locator {
    /// The address that the user named.
    pub url: Option<String>,
    /// The key that the user named.
    pub key: Option<Secret>,
    /// Where a server on this machine leaves its address and key.
    pub data_dir: PathBuf,
}

impl Locator {
    /// From the flag `--url`, the environment and the data directory.
    pub fn new(url: Option<String>, environment: &Environment, data_dir: PathBuf) -> Self {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let url = url.or_else(|| variable("DOGWATCH_URL"));
        Self { url, key: variable("DOGWATCH_API_KEY").map(Secret::new), data_dir }
    }

    /// Whether the user named the server: then no other one will do.
    pub const fn is_named(&self) -> bool {
        self.url.is_some()
    }

    /// A client of the server; nobody has asked yet whether it answers.
    pub fn client(&self) -> Result<Client> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => match Addresses::read(&self.data_dir) {
                Some(addresses) => addresses.api,
                None => return Err(Error::NoServer { data_dir: self.data_dir.clone() }),
            },
        };
        Client::new(&url, self.find_key()?)
    }

    fn find_key(&self) -> Result<Option<Secret>> {
        if let Some(key) = &self.key {
            return Ok(Some(key.clone()));
        }
        let path = self.data_dir.join("root.key");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
            // Without a key the server says what it wants; it may want none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::NoKey { path, message: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_server_comes_first_and_the_data_directory_second() {
        super::super::install_tls();
        let dir = tempfile::tempdir().unwrap();
        let none = Locator::new(None, &Environment::new(), dir.path().to_owned());
        assert!(matches!(none.client(), Err(Error::NoServer { .. })));

        let api = "http://127.0.0.1:1".to_owned();
        Addresses { api, callback: String::new(), grpc: None, pid: 1 }.write(dir.path()).unwrap();
        std::fs::write(dir.path().join("root.key"), "dwk_file\n").unwrap();
        assert_eq!(none.client().unwrap().url(), "http://127.0.0.1:1");
        assert_eq!(none.find_key().unwrap().unwrap().expose(), "dwk_file");

        let environment = Environment::from([
            ("DOGWATCH_URL".to_owned(), "http://127.0.0.1:2".to_owned()),
            ("DOGWATCH_API_KEY".to_owned(), "dwk_environment".to_owned()),
        ]);
        let named = Locator::new(None, &environment, dir.path().to_owned());
        assert_eq!(named.client().unwrap().url(), "http://127.0.0.1:2");
        assert_eq!(named.find_key().unwrap().unwrap().expose(), "dwk_environment");
        let flag = Locator::new(Some("http://127.0.0.1:3".to_owned()), &environment, dir.path().to_owned());
        assert_eq!(flag.client().unwrap().url(), "http://127.0.0.1:3");
        assert!(flag.is_named() && !none.is_named());
    }
}
