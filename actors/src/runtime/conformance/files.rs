//! Files in and out, on every runtime.

use futures_util::TryStreamExt as _;

use super::{Harness, Script, exit_of, fresh_key, plan, within};
use crate::files::{Output, Pattern};
use crate::runtime::Plan;
use crate::runtime::files::{Content, Piece, Placed};

/// Inputs are where the attempt starts, the newest of those put there before; what it leaves comes out by patterns, each
/// file whole, again if it is asked for again, and no link is followed.
pub async fn files_go_in_and_come_out(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    let mut plan = plan(harness, key, Script::Copy);
    plan.files.outputs = vec![Output { path: "out".into(), ..Output::default() }];
    runtime.create(&plan).await.expect("created");
    let long = "0123456789abcdef".repeat(20_000);
    for text in ["short", long.as_str()] {
        let content = Content::Bytes(bytes::Bytes::copy_from_slice(text.as_bytes()));
        let placed = Placed { path: "in.txt".into(), mode: 0o644, content };
        runtime.put_files(&plan, &[placed]).await.expect("placed");
    }
    runtime.start(key).await.expect("a start");
    let exit = exit_of(harness, key).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let (copy, two) = ("out/copy.txt".to_owned(), "out/sub/two.txt".to_owned());
    let table = [
        ("out", vec![(copy.clone(), long.clone()), (two.clone(), "two".to_owned())]),
        ("out/*.txt", vec![(copy.clone(), long.clone())]),
        ("out/**/two.txt", vec![(two.clone(), "two".to_owned())]),
        ("out/link", vec![]),
        ("nowhere/*", vec![]),
        ("out/copy.txt", vec![(copy, long)]),
    ];
    for (pattern, expected) in table {
        let patterns = [Pattern::parse(pattern).expect("a pattern")];
        assert_eq!(taken(harness, &plan, &patterns).await, expected, "{pattern}");
    }
    runtime.remove(key).await.expect("removed");
}

/// The files that the patterns mean, by their paths.
async fn taken(harness: &dyn Harness, plan: &Plan, patterns: &[Pattern]) -> Vec<(String, String)> {
    let pieces = within(harness, harness.runtime().take_files(plan, patterns)).await.expect("files");
    let pieces: Vec<Piece> = within(harness, pieces.try_collect()).await.expect("whole files");
    let mut files: Vec<(String, String)> = Vec::new();
    let mut announced = 0;
    for piece in pieces {
        match piece {
            Piece::File { path, bytes, .. } => {
                announced += bytes;
                files.push((path, String::new()));
            }
            Piece::Data(bytes) => {
                let (_, text) = files.last_mut().expect("a file begins before its content");
                text.push_str(std::str::from_utf8(&bytes).expect("text"));
            }
        }
    }
    assert_eq!(announced, files.iter().map(|(_, text)| text.len() as u64).sum::<u64>());
    files.sort();
    files
}
