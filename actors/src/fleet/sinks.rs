//! The logs' directory as the place where savers put what they save.

use std::any::Any;
use std::io;

use super::saver::{LogSink, LogSinks};
use crate::id::AttemptKey;
use crate::logs::{LogStore, LogWriter};
use crate::runtime::LogLine;

impl LogSinks for LogStore {
    fn begin(&self, key: AttemptKey) -> Box<dyn Any + Send> {
        Box::new(self.begin_saving(key))
    }

    fn open(&self, key: AttemptKey) -> io::Result<Option<Box<dyn LogSink>>> {
        let writer = self.writer(key).map_err(io::Error::other)?;
        Ok(Some(Box::new(writer)))
    }

    fn open_member(&self, key: AttemptKey, member: &str) -> io::Result<Option<Box<dyn LogSink>>> {
        let writer = self.member_writer(key, member).map_err(io::Error::other)?;
        Ok(Some(Box::new(writer)))
    }
}

impl LogSink for LogWriter {
    fn last_nanos(&self) -> Option<i128> {
        Self::last_nanos(self)
    }

    fn append(&mut self, line: &LogLine) -> io::Result<()> {
        Self::append(self, line).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Every append writes through.
        Ok(())
    }
}
