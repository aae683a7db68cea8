//! Whether the command of a container exists in its image, looked up before it is started.
//!
//! With a first process of the engine's own (`Init`) a command that does not exist is no failed start: the
//! container starts, that process cannot run the command and exits with 127 or 126, and the attempt would
//! look like a program that failed. So the file is looked for while nothing runs yet.
//!
//! Not responsible for: commands that exist and cannot work (a script without its interpreter, another
//! architecture): those end as an exit. Invariant: only an answer that is certain is a fault; in doubt the
//! container is started.

use std::collections::HashSet;

use bollard::container::PathStatResponse;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;
use parking_lot::Mutex;

use super::engine::Engine;
use crate::limits::{COMMAND_DIRECTORIES_MAX, COMMANDS_FOUND_MAX, ENGINE_QUERY_TIMEOUT};
use crate::runtime::{Error, StartFault};

/// The search path of a container whose image sets none; the engine's own default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bits of Go's `FileMode`, which the engine reports.
const MODE_DIRECTORY: u32 = 1 << 31;
const MODE_EXECUTABLE: u32 = 0o111;

/// Commands that were found: an image never changes, so each is looked for once.
#[derive(Debug, Default)]
pub(super) struct FoundCommands(Mutex<HashSet<Wanted>>);

impl FoundCommands {
    fn contains(&self, wanted: &Wanted) -> bool {
        self.0.lock().contains(wanted)
    }

    fn insert(&self, wanted: Wanted) {
        let mut found = self.0.lock();
        if found.len() >= COMMANDS_FOUND_MAX {
            // Looking again costs a few requests; remembering which was used last is not worth it.
            found.clear();
        }
        found.insert(wanted);
    }
}

/// One command of one image, and the files it may be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    image: String,
    command: String,
    candidates: Vec<String>,
}

/// What a file of that name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Executable,
    NotExecutable,
    Absent,
    Unclear,
}

/// Fails when the command of this container, which was never started, certainly cannot be run.
pub(super) async fn check(
    engine: &Engine,
    name: &str,
    inspect: &ContainerInspectResponse,
) -> Result<(), Error> {
    let Some(wanted) = wanted(inspect) else { return Ok(()) };
    if engine.found_commands.contains(&wanted) {
        return Ok(());
    }
    let mut best = File::Absent;
    for path in &wanted.candidates {
        match look(engine, name, path).await {
            File::Executable => {
                engine.found_commands.insert(wanted);
                return Ok(());
            }
            File::Unclear => return Ok(()),
            File::NotExecutable => best = File::NotExecutable,
            File::Absent => {}
        }
    }
    let command = &wanted.command;
    Err(match best {
        File::NotExecutable => Error::Start {
            fault: StartFault::CommandNotExecutable,
            message: format!("`{command}` is not executable in the image; make it so, or name a program"),
        },
        _ => Error::Start {
            fault: StartFault::CommandNotFound,
            message: format!(
                "`{command}` does not exist in the image; check entrypoint and args against what the image has"
            ),
        },
    })
}

/// The files that the command may be, in the order in which they are tried; `None` when that is not known.
fn wanted(inspect: &ContainerInspectResponse) -> Option<Wanted> {
    let command = inspect.path.as_deref().filter(|command| !command.is_empty())?;
    let config = inspect.config.as_ref()?;
    let tmpfs = inspect.host_config.as_ref().and_then(|host| host.tmpfs.as_ref());
    let candidates = if command.contains('/') {
        let directory =
            config.working_dir.as_deref().filter(|directory| !directory.is_empty()).unwrap_or("/");
        let absolute = command.starts_with('/');
        vec![if absolute { command.to_owned() } else { format!("{directory}/{command}") }]
    } else {
        let env = config.env.as_deref().unwrap_or_default();
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let directories: Vec<&str> = path.split(':').collect();
        if directories.len() > COMMAND_DIRECTORIES_MAX || directories.iter().any(|dir| !dir.starts_with('/'))
        {
            return None;
        }
        directories.iter().map(|directory| format!("{directory}/{command}")).collect()
    };
    // What a memory file system will hide or hold is not in the image.
    let hidden = |path: &String| tmpfs.is_some_and(|tmpfs| tmpfs.keys().any(|mount| path.starts_with(mount)));
    if candidates.iter().any(hidden) {
        return None;
    }
    Some(Wanted { image: inspect.image.clone()?, command: command.to_owned(), candidates })
}

async fn look(engine: &Engine, name: &str, path: &str) -> File {
    match stat(engine, name, path).await {
        Some(Ok(stat)) if !stat.link_target.is_empty() => match stat.link_target.as_str() {
            // The engine resolves a link to its end, inside the container.
            target if target == path => File::Unclear,
            target => match stat_of_link(engine, name, target).await {
                // A link into nothing may be made good by the container itself.
                File::Absent => File::Unclear,
                file => file,
            },
        },
        Some(Ok(stat)) => kind(&stat),
        Some(Err(Missing)) => File::Absent,
        None => File::Unclear,
    }
}

async fn stat_of_link(engine: &Engine, name: &str, target: &str) -> File {
    match stat(engine, name, target).await {
        Some(Ok(stat)) if stat.link_target.is_empty() => kind(&stat),
        Some(Err(Missing)) => File::Absent,
        _ => File::Unclear,
    }
}

struct Missing;

async fn stat(engine: &Engine, name: &str, path: &str) -> Option<Result<PathStatResponse, Missing>> {
    let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
    let ask = async |client: bollard::Docker| client.get_container_archive_info(name, Some(options)).await;
    match engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await {
        Ok(stat) => Some(Ok(stat)),
        Err(fault) if fault.is_absent() => Some(Err(Missing)),
        Err(_) => None,
    }
}

fn kind(stat: &PathStatResponse) -> File {
    let runnable = stat.file_mode & MODE_EXECUTABLE != 0 && stat.file_mode & MODE_DIRECTORY == 0;
    if runnable { File::Executable } else { File::NotExecutable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files(path: &str, env: &str, working_dir: &str, tmpfs: bool) -> Option<Vec<String>> {
        let mut text = json!({"Image": "sha256:1", "Path": path,
            "Config": {"Env": [env], "WorkingDir": working_dir}, "HostConfig": {}});
        if tmpfs {
            text["HostConfig"]["Tmpfs"] = json!({"/tmp": "rw"});
        }
        wanted(&serde_json::from_value(text).unwrap()).map(|wanted| wanted.candidates)
    }

    #[test]
    fn a_command_is_looked_for_where_the_container_would() {
        let found = |list: &[&str]| Some(list.iter().map(|&path| path.to_owned()).collect::<Vec<_>>());
        assert_eq!(files("/bin/x", "", "", false), found(&["/bin/x"]));
        assert_eq!(files("./x", "", "/app", false), found(&["/app/./x"]));
        assert_eq!(files("x", "PATH=/a:/b", "", false), found(&["/a/x", "/b/x"]));
        assert_eq!(files("x", "HOME=/", "", false).unwrap().len(), 6);
        // Not certain: left to the container.
        assert_eq!(files("x", "PATH=/a:relative", "", false), None);
        assert_eq!(files("/tmp/x", "", "", true), None);
        assert_eq!(files("", "", "", false), None);
    }
}
