//! What the node writes about itself: structured lines with exchange ids, never a payload, never a secret.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSection};

/// Writes to stderr from now on. Whoever embeds the node may have set up something else: that stays.
pub(crate) fn init(section: &LogSection) {
    let filter = EnvFilter::builder().parse_lossy(&section.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is installed already.
    let _ = match section.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
