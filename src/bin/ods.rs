//! `ods`: make a drive, look after it, try one without an account.

fn main() -> std::process::ExitCode {
    ods::cli::ods()
}
