//! `peabiru`: the operator's hand.

fn main() -> std::process::ExitCode {
    peabiru_cli::main()
}
