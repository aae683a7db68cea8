//! Where the data lives when nobody says so.

use std::path::PathBuf;

use super::{Environment, Error};

/// The default data directory: `/var/lib/dogwatch` for root, else `$XDG_DATA_HOME/dogwatch`, else
/// `~/.local/share/dogwatch`.
pub fn default_data_dir(environment: &Environment, is_root: bool) -> Result<PathBuf, Error> {
    if is_root {
        return Ok(PathBuf::from("/var/lib/dogwatch"));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(base) = absolute("XDG_DATA_HOME") {
        return Ok(base.join("dogwatch"));
    }
    absolute("HOME").map(|home| home.join(".local/share/dogwatch")).ok_or(Error::NoDataDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_user() {
        let environment = |pairs: &[(&str, &str)]| -> Environment {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let home = environment(&[("HOME", "/home/u")]);
        let xdg = environment(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "/data")]);
        let relative = environment(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "data")]);
        for (environment, is_root, expected) in [
            (&home, true, "/var/lib/dogwatch"),
            (&home, false, "/home/u/.local/share/dogwatch"),
            (&xdg, false, "/data/dogwatch"),
            (&relative, false, "/home/u/.local/share/dogwatch"),
        ] {
            assert_eq!(default_data_dir(environment, is_root).unwrap(), PathBuf::from(expected));
        }
        assert!(matches!(default_data_dir(&Environment::new(), false), Err(Error::NoDataDir)));
    }
}
