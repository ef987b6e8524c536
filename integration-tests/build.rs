//! Compiles the test service, and its contract as an agency registers it.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto", "../proto"])?;
    compiler.include_imports(true).open_file("road/test/v1/echo.proto")?;
    // Encoded by the compiler itself: prost's types would lose the options that carry the contract's facts.
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("echo.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().bytes(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
