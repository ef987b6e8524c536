//! A bug on purpose, which no blind search finds in time: eight bytes must be right before the strict decoder comes to
//! the first part of a ledger's name. Whoever finds it was led there by the coverage of the decoder itself.
#![no_main]

use peabiru_proto::entry::{Entry, EntryError};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let decoded = Entry::decode(bytes.to_vec().into());
    if let Err(EntryError::Field { field: "origin", reason }) = decoded {
        assert!(!reason.contains("first part"), "the planted bug");
    }
});
