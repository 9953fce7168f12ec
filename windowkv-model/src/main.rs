//! The `windowkv` program.

fn main() -> std::process::ExitCode {
    windowkv_model::cli::run()
}
