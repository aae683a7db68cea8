//! The configuration: which layer wins, what is refused, what is shown.

use std::path::{Path, PathBuf};

use dogwatch::config::{Config, Error, Flag, Loaded, Origin, RuntimeChoice, Sources, StoreEngine};

fn sources(
    file: Option<&str>,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> (Sources, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = file.map(|text| {
        let path = dir.path().join("dogwatch.toml");
        std::fs::write(&path, text).unwrap();
        path
    });
    let mut all: std::collections::BTreeMap<String, String> =
        [("HOME".to_owned(), "/home/u".to_owned())].into();
    all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let flags =
        flags.iter().map(|(name, key, value)| Flag { name, key, value: (*value).to_owned() }).collect();
    (Sources { file, environment: all, flags }, dir)
}

fn load(
    file: Option<&str>,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, Error> {
    Loaded::load(&sources(file, environment, flags).0)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_stronger_layer_wins_and_is_named() {
    let file = Some("[server]\nlisten = \"127.0.0.1:1\"\n[store]\nengine = \"redb\"\n");
    let short = ("DOGWATCH_LISTEN", "127.0.0.1:2");
    let long = ("DOGWATCH_SERVER__LISTEN", "127.0.0.1:3");
    let flag = ("--listen", "server.listen", "127.0.0.1:4");
    for (file, environment, flags, port, from) in [
        (None, vec![], vec![], 7070, "from the built-in default"),
        (file, vec![], vec![], 1, "from the file"),
        (file, vec![short], vec![], 2, "from the environment variable DOGWATCH_LISTEN"),
        (file, vec![short, long], vec![], 3, "from the environment variable DOGWATCH_SERVER__LISTEN"),
        (file, vec![short, long], vec![flag], 4, "from the flag --listen"),
        (None, vec![], vec![flag], 4, "from the flag --listen"),
    ] {
        let loaded = load(file, &environment, &flags).unwrap();
        assert_eq!(loaded.config.server.listen.port(), port);
        let origin = loaded.origins["server.listen"].to_string();
        assert!(origin.starts_with(from), "{origin} instead of {from}");
        assert_eq!(loaded.config.store.engine == StoreEngine::Redb, file.is_some());
    }
}

#[test]
fn texts_of_the_environment_become_values() {
    let loaded = load(
        None,
        &[
            ("DOGWATCH_RUNTIME", "process"),
            ("DOGWATCH_SERVER__THREADS", "3"),
            ("DOGWATCH_SERVER__ALLOW_REMOTE", "true"),
            ("DOGWATCH_FLEET__CPUS", "2"),
            ("DOGWATCH_FLEET__MEMORY", "1Gi"),
            ("DOGWATCH_DATA_DIR", "/data"),
            // These belong to attempts and clients and are none of the configuration's business.
            ("DOGWATCH_URL", "http://127.0.0.1:1"),
            ("DOGWATCH_CALLBACK_URL", "http://127.0.0.1:1"),
            ("DOGWATCH_API_KEY", "dwk_x"),
        ],
        &[],
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.server.runtime, RuntimeChoice::Process);
    assert_eq!((config.server.threads, config.server.allow_remote), (Some(3), true));
    assert_eq!(config.fleet.cpus, Some(2.0));
    assert_eq!(config.fleet.memory.unwrap().as_bytes(), 1 << 30);
    assert_eq!(loaded.data_dir(), Path::new("/data"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (file, environment, expected) in [
        (Some("[server]\nlisten_on = \"x\"\n"), vec![], "no setting `server.listen_on`"),
        (Some("[server]\nlitsen = \"x\"\n"), vec![], "did you mean `server.listen`?"),
        (Some("[sever]\nlisten = \"x\"\n"), vec![], "did you mean `server`?"),
        (Some("listen = \"x\"\n"), vec![], "did you mean `server.listen`?"),
        (Some("[server\n"), vec![], "not valid TOML"),
        (Some("[server]\nlisten = 7\n"), vec![], "`server.listen` (from the file"),
        (
            None,
            vec![("DOGWATCH_LISTEN", "nowhere")],
            "`server.listen` (from the environment variable DOGWATCH_LISTEN)",
        ),
        (None, vec![("DOGWATCH_STORE__ENGIN", "sled")], "did you mean `store.engine`?"),
        (None, vec![("DOGWATCH_LISTN", "127.0.0.1:1")], "did you mean DOGWATCH_LISTEN?"),
        (None, vec![("DOGWATCH_STORE__ENGINE", "sqlite")], "`store.engine` (from the environment variable"),
        (None, vec![("DOGWATCH_PROCESS__ENABLED", "perhaps")], "expected true or false, found `perhaps`"),
    ] {
        let error = load(file, &environment, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  does not contain {expected}");
    }
    let missing = Sources { file: Some(PathBuf::from("/nowhere/x.toml")), ..Sources::default() };
    assert!(Loaded::load(&missing).unwrap_err().to_string().contains("check the path of --config"));
}

#[test]
fn the_default_file_is_the_built_in_defaults() {
    let text = std::fs::read_to_string(repository("config/default.toml")).unwrap();
    let written: Config = toml::from_str(&text).unwrap();
    assert_eq!(written, Config::default());
    // Every key stands in it: set, or commented out where the default is "not set".
    let shown = load(None, &[], &[]).unwrap().to_toml();
    let mut section = String::new();
    for line in shown.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('[') {
            section = line.to_owned();
            continue;
        }
        let name = line.trim_start_matches("# ").split([' ', '=']).next().unwrap();
        let part = text.split(&format!("{section}\n")).nth(1).unwrap().split("\n[").next().unwrap();
        let found = part.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
        assert!(found, "{section} {name} is missing in config/default.toml");
    }
}

#[test]
fn the_example_files_are_valid() {
    for name in ["config/production.toml", "config/development.toml", "config/default.toml"] {
        let sources = Sources { file: Some(repository(name)), ..sources(None, &[], &[]).0 };
        Loaded::load(&sources).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_is_shown_can_be_read_again() {
    let schedule = "[schedules.nightly]\ncron = \"@daily\"\njob = { args = [\"true\"] }\n";
    let file = format!("[fleet]\nmemory = \"1Gi\"\n{schedule}");
    let (sources, dir) = sources(Some(&file), &[("DOGWATCH_DATA_DIR", "/data")], &[]);
    let loaded = Loaded::load(&sources).unwrap();
    let shown = loaded.to_toml();
    assert!(shown.contains("memory = \"1Gi\"  # from the file "), "{shown}");
    assert!(
        shown.contains("data_dir = \"/data\"  # from the environment variable DOGWATCH_DATA_DIR"),
        "{shown}"
    );
    let path = dir.path().join("again.toml");
    std::fs::write(&path, &shown).unwrap();
    let again = Loaded::load(&Sources { file: Some(path.clone()), ..sources.clone() }).unwrap();
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.origins["fleet.memory"], Origin::File(path));
    let json = loaded.to_json();
    assert_eq!(json["schedules"]["nightly"]["value"]["job"]["args"], serde_json::json!(["true"]));
    assert_eq!((again.schedules(), loaded.schedules().len()), (loaded.schedules(), 1));
    assert_eq!(json["fleet"]["memory"]["value"], "1Gi");
    assert_eq!(json["fleet"]["cpus"]["value"], serde_json::Value::Null);
    assert_eq!(json["server"]["listen"]["from"], "from the built-in default");
}

#[test]
fn a_store_is_declared_once_and_its_secret_stands_elsewhere() {
    let file = "[stores.results]\nurl = \"az://runs/prefix\"\naccount = \"me\"\nsecret_file = \"/etc/key\"\n";
    let loaded = load(Some(file), &[], &[]).unwrap();
    assert_eq!(loaded.stores()["results"].account.as_deref(), Some("me"));
    assert_eq!(loaded.to_json()["stores"]["results"]["value"]["url"], "az://runs/prefix");
    let again = load(Some(&loaded.to_toml()), &[], &[]).unwrap();
    assert_eq!(again.stores(), loaded.stores());
    for (file, key) in [
        ("stores = 1", "stores"),
        ("[stores.Results]\nurl = \"s3://x\"", "stores.Results"),
        ("[stores.x]", "stores.x.url"),
        ("[stores.x]\nurl = 1", "stores.x.url"),
        ("[stores.x]\nurl = \"s3://x\"\nsecret = \"hunter2\"", "stores.x"),
    ] {
        let error = load(Some(file), &[], &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}")) && !error.contains("hunter2"), "{file}: {error}");
    }
}
