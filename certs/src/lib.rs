//! Who says it: keys, certificates, TLS.
