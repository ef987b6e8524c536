//! Compiles the agencies' schemas, and each contract as its agency registers it.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let includes = ["proto", "../../proto"];
    let out = std::env::var("OUT_DIR")?;
    for (file, contract) in [
        ("py/ine/v1/district.proto", "district.bin"),
        ("py/mec/v1/school.proto", "school.bin"),
        ("py/mspbs/v1/facility.proto", "facility.bin"),
        ("py/conatel/v1/publication.proto", "publication.bin"),
        ("py/mitic/v1/space.proto", "space.bin"),
    ] {
        let mut compiler = protox::Compiler::new(includes)?;
        compiler.include_imports(true).include_source_info(false).open_file(file)?;
        // Encoded by the compiler itself: prost's types would lose the options that carry the contract's facts.
        std::fs::write(Path::new(&out).join(contract), compiler.encode_file_descriptor_set())?;
        tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    }
    Ok(())
}
