//! A place in a log that may be written to and rotated meanwhile.
//!
//! Blocking. Holds the files open that it still has to read, so that a rotation takes nothing away from it
//! unless two happen between two reads.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::line::{self, ENCODED_BYTES_MAX};
use super::predecessor;
use super::reader::Start;
use crate::limits::LOG_BLOCK_BYTES;
use crate::runtime::{LogLine, LogStream};

/// More of a line's beginning than the time and the stream take.
const HEAD_BYTES: usize = 64;

/// How often the two files are opened again when a rotation comes in between. Each rotation takes megabytes of
/// output, so that the second try finds them still.
const OPEN_TRIES_MAX: usize = 8;

/// A place in a log.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    only: Option<LogStream>,
    files: VecDeque<File>,
    partial: Vec<u8>,
}

impl Cursor {
    /// Opens the log at `start`. It need not exist yet.
    pub(super) fn open(path: PathBuf, start: Start, only: Option<LogStream>) -> io::Result<Self> {
        let mut files: VecDeque<File> = open_both(&path)?.into_iter().flatten().collect();
        if let Start::Last(lines) = start {
            keep_last(&mut files, lines, only)?;
        }
        Ok(Self { path, only, files, partial: Vec::new() })
    }

    /// The next lines, about a block of them; none when all that was written was read.
    pub(super) fn next_lines(&mut self) -> io::Result<Vec<LogLine>> {
        loop {
            let Some(file) = self.files.front_mut() else {
                self.files = open_both(&self.path)?.into_iter().flatten().collect();
                if self.files.is_empty() {
                    return Ok(Vec::new());
                }
                continue;
            };
            let read = read_block(file, &mut self.partial)?;
            if read == 0 && !self.advance()? {
                return Ok(Vec::new());
            }
            let lines = self.take_lines();
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }

    /// Goes on to the next file when the first one is read and finished. False: nothing more for now.
    fn advance(&mut self) -> io::Result<bool> {
        if self.files.len() == 1 {
            let current = inode(&self.files[0])?;
            let [old, new] = open_both(&self.path)?;
            let (old_is_current, new_is_current) = (is(old.as_ref(), current)?, is(new.as_ref(), current)?);
            if new.is_none() || new_is_current {
                return Ok(false);
            }
            // Rotated: nobody writes to the current one any more, but something may have come since the read.
            if read_block(&mut self.files[0], &mut self.partial)? > 0 {
                return Ok(true);
            }
            self.files.extend(old.filter(|_| !old_is_current));
            self.files.extend(new);
        }
        self.files.pop_front();
        // What a killed writer left half-written at the end of a file belongs to no line of the next.
        self.partial.clear();
        Ok(true)
    }

    fn take_lines(&mut self) -> Vec<LogLine> {
        let Some(newline) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            if self.partial.len() > ENCODED_BYTES_MAX {
                self.partial.clear();
            }
            return Vec::new();
        };
        let lines = self.partial[..newline].split(|byte| *byte == b'\n').filter_map(line::decode);
        let lines = lines.filter(|line| self.only.is_none_or(|only| line.stream == only)).collect();
        self.partial.drain(..=newline);
        lines
    }
}

fn read_block(file: &mut File, into: &mut Vec<u8>) -> io::Result<usize> {
    file.take(LOG_BLOCK_BYTES as u64).read_to_end(into)
}

/// The predecessor and the current file, as they were at one moment.
fn open_both(path: &Path) -> io::Result<[Option<File>; 2]> {
    let mut both = [None, None];
    for _ in 0..OPEN_TRIES_MAX {
        let new = open(path)?;
        let old = open(&predecessor(path))?;
        let opened = new.as_ref().map(inode).transpose()?;
        let present = open(path)?.as_ref().map(inode).transpose()?;
        both = [old, new];
        if opened == present {
            break;
        }
    }
    Ok(both)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn is(file: Option<&File>, wanted: (u64, u64)) -> io::Result<bool> {
    Ok(file.map(inode).transpose()? == Some(wanted))
}

/// Moves to where the last `lines` lines begin; files that hold none of them are let go.
fn keep_last(files: &mut VecDeque<File>, lines: usize, only: Option<LogStream>) -> io::Result<()> {
    let mut missing = lines;
    for index in (0..files.len()).rev() {
        let (offset, found) = offset_of_last(&files[index], missing, only)?;
        files[index].seek(SeekFrom::Start(offset))?;
        missing -= found;
        if missing == 0 {
            files.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Where the last `wanted` complete lines of a file begin, and how many of them there are. Reads backwards,
/// block by block, and stops as soon as it has them.
fn offset_of_last(file: &File, wanted: usize, only: Option<LogStream>) -> io::Result<(u64, usize)> {
    let mut end = file.metadata()?.len();
    let (mut found, mut complete_end) = (0, None);
    let mut head: Vec<u8> = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(LOG_BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(end - from).expect("a block fits in memory")];
        file.read_exact_at(&mut block, from)?;
        let size = block.len();
        block.extend_from_slice(&head);
        for index in (0..size).rev() {
            let begins = index + 1;
            if block[index] == b'\n' {
                let start = from + begins as u64;
                if complete_end.is_some() && counts(&block[begins..], only) {
                    found += 1;
                }
                let complete_end = *complete_end.get_or_insert(start);
                if found == wanted {
                    return Ok((if wanted == 0 { complete_end } else { start }, found));
                }
            }
        }
        block.truncate(HEAD_BYTES.min(block.len()));
        head = block;
        end = from;
    }
    if complete_end.is_some() && counts(&head, only) {
        found += 1;
    }
    Ok((0, found.min(wanted)))
}

fn counts(line: &[u8], only: Option<LogStream>) -> bool {
    line::stream_of(&line[..line.len().min(HEAD_BYTES)])
        .is_some_and(|stream| only.is_none_or(|only| only == stream))
}
