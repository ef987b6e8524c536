//! `peabiru`, under a name of its own: the tests of this package spawn it.

fn main() -> std::process::ExitCode {
    peabiru_cli::main()
}
