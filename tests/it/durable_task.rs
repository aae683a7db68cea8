//! The Durable Task protocol, by those who speak it: the SDKs as they are in their registries, and their own
//! description of the contract.
//!
//! What the SDKs do is in `tests/clients`; here it is run against the real binary, which is killed where they say so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::bench::{Bench, On};

/// Where the SDKs are installed.
fn sdks() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let sdks = target.join("sdks");
    assert!(sdks.join("installed").is_file(), "the SDKs are not installed; run `cargo xtask prepare`");
    sdks
}

fn clients(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(folder)
}

/// A server, and how a program in that folder is run against it.
struct World {
    bench: Bench,
}

impl World {
    async fn start() -> Self {
        // A port that it has again after a kill: below those that outgoing connections take.
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let first = 15_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        let port = (first..).find(free).unwrap();
        let listen = format!("127.0.0.1:{port}");
        Self { bench: Bench::start_with(On::Process, &[("DOGWATCH_GRPC_LISTEN", &listen)]).await }
    }

    fn program(&self, program: &str, folder: &str, file: &str) -> Command {
        let mut command = Command::new(sdks().join("bin").join(program));
        let (address, key) = (self.bench.grpc(), self.bench.key());
        command.current_dir(clients(folder)).arg(file).args(["--address", &address, "--key", &key]);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        command
    }

    /// Runs a suite to its end.
    async fn passes(&self, mut command: Command) {
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{told}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}", self.bench.log());
        assert!(told.lines().filter(|line| line.starts_with("ok ")).count() > 10, "it ran next to nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_finds_all_that_it_expects() {
    let world = World::start().await;
    world.passes(world.program("python", "durabletask-python", "suite.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_of_the_managed_service_finds_all_that_it_expects() {
    let world = World::start().await;
    let mut command = world.program("python", "durabletask-python", "suite.py");
    command.arg("--managed");
    world.passes(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdk_finds_all_that_it_expects() {
    let world = World::start().await;
    world.passes(world.program("node", "durabletask-js", "suite.mjs")).await;
}

/// The examples, by the commands that their README names behind the installation.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_other_languages_do_what_they_say() {
    let world = World::start().await;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    // The suite has the same SDK installed.
    let modules = clients("durabletask-js").join("node_modules");
    for (folder, program, worker, client) in [
        ("python", "python", "order_worker.py", "order_client.py"),
        ("javascript", "node", "fan_out_worker.mjs", "fan_out_start.mjs"),
    ] {
        let place = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(examples.join(folder)).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), place.path().join(file.file_name())).unwrap();
            }
        }
        std::os::unix::fs::symlink(&modules, place.path().join("node_modules")).unwrap();
        let command = |file: &str| {
            let mut command = Command::new(sdks().join("bin").join(program));
            command.arg(file).current_dir(place.path()).env("DOGWATCH_GRPC", world.bench.grpc());
            command.env("DOGWATCH_API_KEY", world.bench.key());
            command
        };
        let mut worker = command(worker).stdout(Stdio::null()).spawn().unwrap();
        let mut client = command(client);
        let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{folder}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.to_lowercase().contains("completed"), "{folder}: {said}");
    }
}

/// What the program says about itself comes on its standard output, among it where the server is to be killed.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_everything_nothing_is_lost_or_doubled() {
    let mut world = World::start().await;
    let mut command = world.program("python", "durabletask-python", "crash.py");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut lines) =
        (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    let mut kills = 0;
    loop {
        let read = tokio::task::spawn_blocking(move || (lines.next(), lines)).await.unwrap();
        let Some(line) = read.0 else { break };
        (lines, _) = (read.1, ());
        let line = line.unwrap();
        println!("{line}");
        if line == "KILL" {
            kills += 1;
            world.bench.restart(Signal::KILL).await;
            writeln!(input, "READY").unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{}", world.bench.log());
    assert!(kills > 5, "it was killed {kills} times only");
}

/// The contract as this SDK describes it: a line for each field, value and call.
fn described_by_the_sdk() -> Vec<String> {
    let script = clients("durabletask-python").join("contract.py");
    let output = Command::new(sdks().join("bin/python")).arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The same of our own files.
fn described_here() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/durable_task/proto");
    let set = protox::compile(["service.proto"], [folder]).unwrap();
    let files = set.file.iter().filter(|file| !file.name().starts_with("google/"));
    let mut lines = Vec::new();
    for file in files {
        assert_eq!(file.package(), "");
        for message in &file.message_type {
            lines.extend(described(message));
        }
        for values in &file.enum_type {
            let value = |value: &prost_types::EnumValueDescriptorProto| {
                format!("{}.{} = {}", values.name(), value.name(), value.number())
            };
            lines.extend(values.value.iter().map(value));
        }
        for service in &file.service {
            lines.extend(service.method.iter().map(|method| {
                let (input, output) = (bare(method.input_type()), bare(method.output_type()));
                let streams = (method.client_streaming(), method.server_streaming());
                format!("{}.{}({input}) -> {output} {streams:?}", service.name(), method.name())
            }));
        }
    }
    lines.sort();
    lines
}

fn bare(name: &str) -> &str {
    name.trim_start_matches('.')
}

fn described(message: &prost_types::DescriptorProto) -> Vec<String> {
    let oneof = |index: i32| message.oneof_decl[usize::try_from(index).unwrap()].name();
    let field = |field: &prost_types::FieldDescriptorProto| {
        let (label, kind) = (field.label() as i32, field.r#type() as i32);
        let of = field.oneof_index.map_or("", oneof);
        let (name, number, reference) = (field.name(), field.number(), bare(field.type_name()));
        format!("{}.{name} = {number} label {label} type {kind} {reference} {of}", message.name())
    };
    let nested = message.nested_type.iter().flat_map(described);
    message.field.iter().map(field).chain(nested).chain([format!("message {}", message.name())]).collect()
}

#[test]
fn the_contract_is_the_one_that_the_sdk_has() {
    let (theirs, ours) = (described_by_the_sdk(), described_here());
    assert!(theirs.len() > 500, "it described next to nothing");
    for line in &theirs {
        assert!(ours.contains(line), "missing here: {line}");
    }
    for line in &ours {
        assert!(theirs.contains(line), "not in the contract: {line}");
    }
}
