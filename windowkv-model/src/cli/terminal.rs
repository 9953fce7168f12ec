//! Standard output, standard error, progress.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Error, Result};

/// Prints to standard output at once, so that a reader sees the text as it comes.
pub(super) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for bytes.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| Error::Stream {
            action: "write to standard output",
            source,
        })
}

/// A line on standard error; a closed one is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A bar on standard error while something long runs: only on a terminal, and gone afterwards.
pub(super) fn progress(what: &'static str, steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {percent} % {eta} left")
        .expect("a template that a test has drawn")
        .progress_chars("=> ");
    ProgressBar::new(steps).with_style(style).with_message(what)
}

/// Lets traces through to standard error: -v for what the program does, -vv for every layer.
pub(super) fn trace(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .finish();
    // Fails only when one is set already, as in a program that embeds this one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
