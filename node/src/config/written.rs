//! Values as whoever wrote the file reads them: not as Rust would spell them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::LogFormat;
use super::sections::XroadFaults;
use crate::link::Carrier;

/// A value of a configuration.
pub(super) trait Written {
    /// As it is said; nothing if it is not set.
    fn written(&self) -> Option<String>;
}

macro_rules! as_displayed {
    ($($type:ty),*) => { $(impl Written for $type {
        fn written(&self) -> Option<String> {
            Some(self.to_string())
        }
    })* };
}

as_displayed!(u32, u64, usize, NonZeroU32, SocketAddr);

impl Written for str {
    fn written(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl Written for String {
    fn written(&self) -> Option<String> {
        self.as_str().written()
    }
}

impl Written for Path {
    fn written(&self) -> Option<String> {
        Some(format!("\"{}\"", self.display()))
    }
}

impl Written for PathBuf {
    fn written(&self) -> Option<String> {
        self.as_path().written()
    }
}

impl Written for XroadFaults {
    fn written(&self) -> Option<String> {
        match self {
            Self::UpTo77 => "7.7",
            Self::From78 => "7.8",
        }
        .written()
    }
}

impl Written for LogFormat {
    fn written(&self) -> Option<String> {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
        .written()
    }
}

impl Written for Vec<Carrier> {
    fn written(&self) -> Option<String> {
        let names: Vec<_> = self.iter().filter_map(|carrier| carrier.as_str().written()).collect();
        Some(format!("[{}]", names.join(", ")))
    }
}

impl<T: Written + ?Sized> Written for &T {
    fn written(&self) -> Option<String> {
        (*self).written()
    }
}

impl<T: Written> Written for Option<T> {
    fn written(&self) -> Option<String> {
        self.as_ref().and_then(Written::written)
    }
}

/// Two that belong together, such as a certificate and its key.
impl<A: Written, B: Written> Written for (A, B) {
    fn written(&self) -> Option<String> {
        let both: Vec<_> = [self.0.written(), self.1.written()].into_iter().flatten().collect();
        (!both.is_empty()).then(|| both.join(", "))
    }
}
