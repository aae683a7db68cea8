//! The floor for everything durable: one thread appends what waits to a file, syncs it once for all, and answers.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use dogwatch_actors::limits::{COMMIT_GROUP_MAX, COMMITS_QUEUED_MAX};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result, file};

type Request = (Vec<u8>, oneshot::Sender<()>);

/// A file that is appended to.
#[derive(Debug, Clone)]
pub(crate) struct Append(mpsc::Sender<Request>);

impl Append {
    /// Begins a file. Its thread ends with the last clone, or at the first error of the disk.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let mut target = File::create(path).map_err(file(path))?;
        let (queue, mut requests) = mpsc::channel::<Request>(COMMITS_QUEUED_MAX);
        std::thread::spawn(move || {
            while let Some((mut bytes, answer)) = requests.blocking_recv() {
                let mut answers = vec![answer];
                while answers.len() < COMMIT_GROUP_MAX {
                    let Ok((more, answer)) = requests.try_recv() else { break };
                    bytes.extend(more);
                    answers.push(answer);
                }
                if target.write_all(&bytes).and_then(|()| target.sync_data()).is_err() {
                    return;
                }
                for answer in answers {
                    // A writer that is gone needs no answer.
                    answer.send(()).ok();
                }
            }
        });
        Ok(Self(queue))
    }

    /// Resolves when the record is durable.
    pub(crate) async fn commit(&self, record: Vec<u8>) -> Result<()> {
        let failed = || Error::Void("the disk of the bare append failed".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.send((record, answer)).await.map_err(|_| failed())?;
        answered.await.map_err(|_| failed())
    }
}
