//! Looks at real directories.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::directory::look;
use super::*;

fn names(spec: &Value) -> (Vec<String>, bool) {
    let spec: Directory = serde_json::from_value(spec.clone()).unwrap();
    let found = look(&spec, None);
    let below = |object: &Object| object.name.strip_prefix(&format!("{}/", spec.path)).unwrap().to_owned();
    let mut names: Vec<String> = found.objects.iter().map(below).collect();
    names.sort();
    (names, found.is_whole)
}

#[test]
fn files_are_seen_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["a.csv", "b.txt", ".hidden", "c.csv.part", "d~"] {
        fs::write(root.join(name), "x").unwrap();
    }
    fs::create_dir_all(root.join("in/deep")).unwrap();
    fs::write(root.join("in/deep/e.csv"), "x").unwrap();
    symlink(root.join("a.csv"), root.join("link.csv")).unwrap();
    symlink(root, root.join("in/loop")).unwrap();
    let path = root.to_str().unwrap();
    for (more, expected) in [
        (json!({}), &["a.csv", "b.txt"][..]),
        (json!({"patterns": ["*.csv"]}), &["a.csv"]),
        (json!({"recursive": true, "patterns": ["*.csv"]}), &["a.csv", "in/deep/e.csv"]),
        (json!({"recursive": true, "patterns": ["in/**"]}), &["in/deep/e.csv"]),
        (json!({"hidden": true}), &[".hidden", "a.csv", "b.txt", "c.csv.part", "d~"]),
    ] {
        let mut spec = more.clone();
        spec["path"] = json!(path);
        assert_eq!(names(&spec), (expected.iter().map(|name| (*name).to_owned()).collect(), true), "{more}");
    }
}

#[test]
fn each_change_is_another_version_and_what_cannot_be_seen_is_not_gone() {
    let dir = tempfile::tempdir().unwrap();
    let spec: Directory = serde_json::from_value(json!({"path": dir.path()})).unwrap();
    let file = dir.path().join("a");
    let version = || look(&spec, None).objects.remove(0).version;
    fs::write(&file, "one").unwrap();
    let first = version();
    assert_eq!(version(), first);
    let metadata = fs::metadata(&file).unwrap();
    // The same size and the same time, but another file.
    fs::write(dir.path().join(".b"), "two").unwrap();
    let times = fs::FileTimes::new().set_modified(metadata.modified().unwrap());
    fs::File::open(dir.path().join(".b")).unwrap().set_times(times).unwrap();
    fs::rename(dir.path().join(".b"), &file).unwrap();
    assert_ne!(version(), first);

    let elsewhere = look(&spec, Some("/nowhere"));
    assert!(!elsewhere.is_whole && elsewhere.fault.unwrap().contains("declare the trigger again"));
    drop(dir);
    let gone = look(&spec, None);
    assert!(!gone.is_whole && gone.objects.is_empty() && gone.fault.is_some());
}
