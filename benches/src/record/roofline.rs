//! A record as a picture: its kernels below the machine's roof.

use windowkv_model::evaluation::picture::{RoofPoint, Roofline};

use super::Record;

/// The chart of the kernels that multiply matrices; the others have no place on it.
///
/// # Errors
/// A record without ceilings: then there is no roof.
pub fn chart(record: &Record) -> Result<Roofline, String> {
    let ceilings = record
        .ceilings
        .first()
        .ok_or("no ceilings, so there is no roof")?;
    let mut subtitle = format!("{}, commit {}", &record.date[..10], record.commit);
    if record.synthetic {
        subtitle = format!("SYNTHETIC, nobody measured it; {subtitle}");
    }
    if !record.valid {
        subtitle = format!("NOT VALID, a check did not pass; {subtitle}");
    }
    let points = record.lines.iter().filter(|line| line.operations > 0);
    Ok(Roofline {
        title: format!("Kernels on {}", record.device),
        subtitle,
        bytes_per_second: ceilings.copy_bytes_per_second,
        operations_per_second: ceilings.product_operations_per_second,
        points: points
            .map(|line| RoofPoint {
                series: format!("{}, {}", line.kernel, line.model),
                intensity: line.operations as f64 / line.bytes as f64,
                rate: line.operations as f64 / line.ours.seconds,
            })
            .collect(),
    })
}
