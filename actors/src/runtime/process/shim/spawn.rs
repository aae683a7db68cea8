//! Starting the attempt's process, and saying why it cannot be started.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use tokio::time::Instant;

use crate::limits::PROCESS_SPAWN_RETRY_MAX;
use crate::runtime::StartFault;
use crate::runtime::process::record::Orders;

/// The pause between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// Where commands are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the process in a group of its own, with nothing to read and its output in pipes.
pub(super) fn spawn(orders: &Orders) -> Result<Child, (StartFault, String)> {
    let Some((program, args)) = orders.argv.split_first() else {
        return Err((StartFault::Rejected, "there is no command; give `entrypoint` or `args`".into()));
    };
    let directory = &orders.working_dir;
    if !directory.is_dir() || rustix::fs::access(directory, Access::EXEC_OK).is_err() {
        let message = format!(
            "the working directory {} does not exist or cannot be entered; create it or change `working_dir`",
            directory.display()
        );
        return Err((StartFault::WorkingDirectory, message));
    }
    let path = orders.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", path)
        .envs(&orders.env)
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let since = Instant::now();
    loop {
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if passes(&error) && since.elapsed() < PROCESS_SPAWN_RETRY_MAX => {
                std::thread::sleep(RETRY_EVERY);
            }
            Err(error) => return Err(fault(program, path, directory, &error)),
        }
    }
}

/// The host is short of something for the moment, or somebody still writes the file.
fn passes(error: &io::Error) -> bool {
    [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::TXTBSY]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn fault(program: &str, path: &str, directory: &Path, error: &io::Error) -> (StartFault, String) {
    let found = find(program, path, directory);
    match (error.kind(), found) {
        (io::ErrorKind::NotFound, Some(file)) => (
            StartFault::CommandNotExecutable,
            format!(
                "{} cannot be run: its interpreter does not exist; check its first line, or install the interpreter",
                file.display()
            ),
        ),
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => (
            StartFault::CommandNotFound,
            format!("the command `{program}` does not exist; give its full path or set PATH in `env`"),
        ),
        (io::ErrorKind::PermissionDenied, _) => (
            StartFault::CommandNotExecutable,
            format!("the command `{program}` may not be executed; make it executable (chmod +x)"),
        ),
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => (
            StartFault::CommandNotExecutable,
            format!(
                "the command `{program}` is no program for this machine; give it a first line like #!/bin/sh"
            ),
        ),
        _ => (StartFault::Rejected, format!("the command `{program}` cannot be started: {error}")),
    }
}

fn find(program: &str, path: &str, directory: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(directory.join(program)).filter(|file| file.is_file());
    }
    path.split(':').map(|dir| directory.join(dir).join(program)).find(|file| file.is_file())
}
