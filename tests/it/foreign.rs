//! Containers of somebody else, beside ours on the same engine.

use crate::bench::{IMAGE, docker};

/// A container of somebody else, removed when it is dropped.
pub(crate) struct Foreign(String);

impl Foreign {
    /// Runs one, with labels of dogwatch's kind.
    pub(crate) fn run(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut args = vec!["run".to_owned(), "--detach".to_owned(), "--name".to_owned(), name.to_owned()];
        args.extend(labels.iter().map(|(key, value)| format!("--label=dev.dogwatch.{key}={value}")));
        // Longer than any proof takes.
        args.extend([IMAGE, "sleep", "864000"].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Self(docker(&args).expect("it starts"))
    }

    /// Whether it still runs, and when it was started.
    pub(crate) fn state(&self) -> Option<String> {
        docker(&["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", &self.0])
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}
