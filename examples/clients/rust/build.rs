//! Compiles the agency's schema.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let includes = ["../../connectivity/proto", "../../../proto"];
    let files = protox::compile(["py/mec/v1/school.proto"], includes)?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
