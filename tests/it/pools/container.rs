//! The same with a real container: an image made of the worker and the libraries that it maps.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::caller::Caller;
use super::{declare, instances, is_empty, until};
use crate::bench::{Bench, On, docker};
use crate::examples::program;

/// The image of the worker, removed when it is dropped.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.0]);
    }
}

impl Image {
    fn import() -> Self {
        let name = format!("dogwatch-test-worker:{}", std::process::id());
        let mut import = Command::new("docker");
        import.args(["import", "-", &name]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut import = import.spawn().unwrap();
        import.stdin.take().unwrap().write_all(&tar()).unwrap();
        assert!(import.wait().unwrap().success());
        Self(name)
    }
}

/// The worker and the shared objects of this program, which are those of the worker too.
fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |file: &Path, place: &Path| {
        let content = std::fs::read(file).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, place.strip_prefix("/").unwrap(), content.as_slice()).unwrap();
    };
    add(&program("activity_worker"), Path::new("/worker"));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let libraries: BTreeSet<PathBuf> =
        mapped.filter(|path| path.contains(".so")).map(PathBuf::from).collect();
    for library in libraries {
        let name = library.file_name().unwrap();
        // Where the loader looks, and where programs name the loader.
        let places = ["/lib", "/lib64", "/lib/x86_64-linux-gnu"].map(|place| Path::new(place).join(name));
        for place in places.into_iter().chain([library.clone()]).collect::<BTreeSet<_>>() {
            add(&library, &place);
        }
    }
    tar.into_inner().unwrap()
}

fn pool(image: &Image, job: Value) -> Value {
    let job = crate::bench::with(json!({"image": image.0, "stop_grace": "5s"}), job);
    json!({"activities": [{"name": "shout"}], "job": job, "idle": "300ms", "max": 2})
}

#[actix_web::test]
async fn a_container_is_started_for_an_activity_and_gone_when_there_is_none() {
    let image = Image::import();
    let bench = Bench::start(On::Docker).await;
    let caller = Caller::of(&bench, "default");

    // One that cannot start says why, and the activity waits.
    declare(&bench, "shouting", &pool(&image, json!({"entrypoint": ["/nowhere"]}))).await;
    caller.start("first", "shout").await;
    let failed = until(&bench, "shouting", "it has failed", |pool| pool["last_failure"].is_object()).await;
    assert_eq!(failed["last_failure"]["cause"], "start_error", "{failed}");
    assert_eq!(failed["last_failure"]["exit_code"], 127, "{failed}");
    let why = bench.get("/v1/orchestrations/first/explain").await;
    assert!(why["sentence"].as_str().unwrap().contains("the pool `shouting`"), "{why}");

    // Mended, a container does it.
    declare(&bench, "shouting", &pool(&image, json!({"entrypoint": ["/worker"]}))).await;
    let up = until(&bench, "shouting", "an instance", |pool| !is_empty(pool)).await;
    assert_eq!(caller.result("first").await, "\"SHOUT\"");
    let job = instances(&up).remove(0);
    let job = bench.job(&job).await;
    assert_eq!(job["spec"]["image"], image.0.as_str(), "{job}");
    until(&bench, "shouting", "zero again", is_empty).await;
    bench.cleared().await;
}
