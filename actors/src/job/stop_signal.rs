//! The signals that may ask an attempt to stop. Data only.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The signals that may ask an attempt to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// 15, the default.
    #[default]
    Sigterm,
    /// 2.
    Sigint,
    /// 3.
    Sigquit,
    /// 1.
    Sighup,
    /// 10.
    Sigusr1,
    /// 12.
    Sigusr2,
    /// 9: no grace.
    Sigkill,
}

impl StopSignal {
    /// The signal's name, `SIGTERM` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "SIGTERM",
            Self::Sigint => "SIGINT",
            Self::Sigquit => "SIGQUIT",
            Self::Sighup => "SIGHUP",
            Self::Sigusr1 => "SIGUSR1",
            Self::Sigusr2 => "SIGUSR2",
            Self::Sigkill => "SIGKILL",
        }
    }

    /// The signal's number on Linux.
    pub const fn number(self) -> i32 {
        match self {
            Self::Sighup => 1,
            Self::Sigint => 2,
            Self::Sigquit => 3,
            Self::Sigkill => 9,
            Self::Sigusr1 => 10,
            Self::Sigusr2 => 12,
            Self::Sigterm => 15,
        }
    }
}
