#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peabiru_fuzz::parsers::unpack(bytes));
