//! Tables for people.

use windowkv_ref::methods::MethodKind;

use crate::runner::{Generation, KvReport};

/// The table under an answer.
pub(super) fn table(answer: &Generation) -> String {
    let mut lines = vec![String::new()];
    let KvReport {
        method,
        prompt_tokens,
        ..
    } = &answer.kv;
    lines.push(format!(
        "{:<10}{:>12}{:>12}{:>14}",
        "", "tokens", "time", "tokens/s"
    ));
    let timing = &answer.timing;
    let rate = |name, tokens: usize, seconds: f64| {
        let speed = if tokens == 0 || seconds == 0.0 {
            "-".to_owned()
        } else {
            grouped((tokens as f64 / seconds) as u64)
        };
        format!(
            "{name:<10}{:>12}{:>12}{speed:>14}",
            grouped(tokens as u64),
            duration(seconds)
        )
    };
    lines.push(rate("prefill", *prompt_tokens, timing.prefill_seconds));
    // The first new token comes out of prefill.
    lines.push(rate(
        "decode",
        answer.ids.len().saturating_sub(1),
        timing.decode_seconds,
    ));
    lines.push(String::new());
    lines.push(format!("kept by {}", method.title()));
    for group in &answer.kv.groups {
        let layers = match group.layers {
            1 => format!("layer {}", group.first_layer),
            layers => format!(
                "layers {}-{}",
                group.first_layer,
                group.first_layer + layers - 1
            ),
        };
        let windows = match group.kept_windows {
            _ if group.kept_tokens == *prompt_tokens => "the whole prompt".to_owned(),
            Some(0) => "the suffix alone".to_owned(),
            Some(windows) => format!("{} windows and the suffix", grouped(windows as u64)),
            None => String::new(),
        };
        let line = format!(
            "  {layers:<14}{:>10} tokens  {windows}",
            grouped(group.kept_tokens as u64)
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.push(kv_line(&answer.kv));
    lines.join("\n")
}

fn kv_line(kv: &KvReport) -> String {
    let percent = |of: u64| 100.0 * kv.bytes as f64 / of.max(1) as f64;
    let full = format!(
        "{:.1} % of the full cache ({})",
        percent(kv.full_bytes),
        bytes(kv.full_bytes)
    );
    let released = match kv.method {
        MethodKind::FullKv => String::new(),
        _ => format!(
            ", {:.1} % of the released code's layout ({})",
            percent(kv.released_layout_bytes),
            bytes(kv.released_layout_bytes)
        ),
    };
    format!(
        "KV cache of the prompt: {}, {full}{released}",
        bytes(kv.bytes)
    )
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a binary unit: `1.2 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds as a person reads them.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{:.0} us", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [10, 1536, 5 << 20].map(bytes),
            ["10 B", "1.5 KiB", "5.0 MiB"]
        );
        assert_eq!(
            [0.0000004, 0.25, 61.0].map(duration),
            ["0 us", "250.0 ms", "61.00 s"]
        );
    }
}
