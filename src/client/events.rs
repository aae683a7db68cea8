//! Server-sent events, read from a stream of bytes.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use dogwatch_actors::job::view::EventView;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Answer, Error, Result};
use crate::limits::CLIENT_EVENT_BYTES_MAX;

/// One thing that came.
#[derive(Debug, Clone)]
pub enum EventItem {
    /// An event.
    Event(Box<Answer<EventView>>),
    /// A sign of life.
    Heartbeat,
}

/// The events of a connection.
pub struct EventStream {
    bytes: BoxStream<'static, Result<Bytes>>,
    frames: Frames,
    ready: VecDeque<Frame>,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl EventStream {
    pub(super) fn new(bytes: BoxStream<'static, Result<Bytes>>) -> Self {
        Self { bytes, frames: Frames::default(), ready: VecDeque::new() }
    }

    /// The next one; `None` when the connection ended. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<EventItem>> {
        loop {
            match self.ready.pop_front() {
                Some(Frame::Comment) => return Some(Ok(EventItem::Heartbeat)),
                Some(Frame::Data(raw)) => {
                    let read = serde_json::from_str(&raw);
                    return Some(match read {
                        Ok(value) => Ok(EventItem::Event(Box::new(Answer { value, raw }))),
                        Err(source) => Err(Error::Unreadable { url: "the event stream".to_owned(), source }),
                    });
                }
                None => match self.bytes.next().await? {
                    Ok(part) => match self.frames.feed(&part) {
                        Ok(frames) => self.ready.extend(frames),
                        Err(error) => return Some(Err(error)),
                    },
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    Data(String),
    Comment,
}

/// Cuts bytes into frames. Ids and event names are ignored: the data holds both.
#[derive(Debug, Default)]
struct Frames {
    line: Vec<u8>,
    data: String,
}

impl Frames {
    fn feed(&mut self, part: &[u8]) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        for byte in part {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > CLIENT_EVENT_BYTES_MAX {
                    return Err(Error::TooLong { url: "the event stream".to_owned() });
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
            self.line.clear();
            if line.is_empty() {
                if !self.data.is_empty() {
                    frames.push(Frame::Data(std::mem::take(&mut self.data)));
                }
            } else if line.starts_with(':') {
                frames.push(Frame::Comment);
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let text = b"retry: 1000\n\n: beat\n\nid: 1\r\nevent: x\r\ndata: {\"a\":\r\ndata: \"\xc3\xbc\"}\r\n\r\ndata:2\n\n";
        let expected =
            [Frame::Comment, Frame::Data("{\"a\":\n\"ü\"}".to_owned()), Frame::Data("2".to_owned())];
        for size in 1..text.len() {
            let mut frames = Frames::default();
            let found: Vec<Frame> = text.chunks(size).flat_map(|part| frames.feed(part).unwrap()).collect();
            assert_eq!(found, expected, "cut every {size} bytes");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut frames = Frames::default();
        assert!(frames.feed(&vec![b'x'; CLIENT_EVENT_BYTES_MAX + 1]).is_err());
    }
}
